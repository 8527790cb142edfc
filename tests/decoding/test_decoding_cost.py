import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.image_files import bmp, chunk, saved
from tests.helpers.model_fixtures import ROOT
from tests.helpers.odd_images import content_of, odd_images, plain_files
from transforms.decoding.decode_image import Preprocessing, open_for_decoding
from transforms.decoding.decoding_cost import decoding_cost, is_of_unknown_cost

MEGABYTE = 1_000_000
MEASURE = """
import sys
from pathlib import Path
from transforms.decoding.decode_image import Preprocessing, decode_opened, open_for_decoding

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

content, as_asked = Path(sys.argv[1]).read_bytes(), Preprocessing(224, sys.argv[2], 180_000_000)
before = peak()
decode_opened(open_for_decoding(content, as_asked), as_asked)
print(peak() - before)
"""


def black_png(size: tuple[int, int], colour: int) -> bytes:
    width, height = size
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, colour, 0, 0, 0))
    pixels = zlib.compress(bytes(height * (1 + width * {0: 1, 2: 3, 6: 4}[colour])), 1)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def black_bmp(size: tuple[int, int], bits: int) -> bytes:
    row = (size[0] * bits + 31) // 32 * 4
    return bmp(size, bits, bytes(row * size[1]), palette=bytes(1024) if bits == 8 else b"")


LARGE = {
    "tall grey": black_png((1, 6 * MEGABYTE), 0),
    "tall colour": black_png((2, 4 * MEGABYTE), 2),
    "wide transparent": black_png((6 * MEGABYTE, 1), 6),
    "square": black_png((3000, 3000), 2),
    "tall bitmap": black_bmp((1, 6 * MEGABYTE), 8),
    "wide bitmap": black_bmp((6 * MEGABYTE, 1), 32),
    "photograph": saved(Image.new("RGB", (3000, 4000)), "JPEG"),
    "progressive": saved(Image.new("RGB", (3000, 4000)), "JPEG", progressive=True),
    "webp": saved(Image.new("RGB", (2000, 3000)), "WEBP"),
    "gif": saved(Image.new("P", (3000, 3000)), "GIF"),
}


@pytest.mark.parametrize("resize", ["crop", "keras"])
@pytest.mark.parametrize("name", LARGE)
def test_no_image_takes_more_than_its_estimate(name: str, resize: str, tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("reads the memory of a process from /proc")
    (tmp_path / name).write_bytes(LARGE[name])
    command = [sys.executable, "-c", MEASURE, str(tmp_path / name), resize]
    taken = int(subprocess.run(command, capture_output=True, check=True, cwd=ROOT).stdout)
    as_asked = Preprocessing(224, "keras" if resize == "keras" else "crop", 180_000_000)
    opened = open_for_decoding(LARGE[name], as_asked)
    estimate = decoding_cost(opened.image, opened.stripped, opened.width * opened.height).memory
    assert taken < estimate


def test_rows_count_beside_pixels() -> None:
    def memory(width: int, height: int) -> int:
        opened = open_for_decoding(black_png((width, height), 0), Preprocessing(8, "crop", 10**8))
        return decoding_cost(opened.image, opened.stripped, width * height).memory

    assert memory(1, 10**6) - memory(1000, 1000) == pytest.approx(16 * 10**6, rel=0.01)


def test_formats_whose_header_does_not_tell_are_known() -> None:
    unknown = {name for name, content in plain_files().items() if is_of_unknown_cost(content)}
    assert unknown == {"plain.tif", "plain_lzw.tif"}
    bitmaps = {name for name in odd_images() if name.endswith(".bmp")}
    runs = {name for name in bitmaps if is_of_unknown_cost(content_of(name))}
    assert runs == {"run_length.bmp", "huge_skip.bmp"}
    assert not is_of_unknown_cost(b"BM" + bytes(12) + b"\x0c\0\0\0" + bytes(12) + b"\1\0\0\0")
