"""What no file may do to the process that opens it, and the limits of what is opened."""

import functools
import io
import json
import os
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.helpers.image_files import (
    bmp,
    chunk,
    gif,
    png,
    saved,
    segment,
    tiff,
    with_chunks,
    with_segments,
)
from tests.helpers.model_fixtures import ROOT
from tests.helpers.odd_images import content_of, odd_images, picture, plain_files
from transforms.decoding.open_image import open_image, stored_size
from transforms.failures import ImageError

MEGABYTE = 1_000_000
DECODE_ALL = """
import json, sys, time
from pathlib import Path
from transforms.decode_images import Preprocessing, decode_image
from transforms.failures import ImageError

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

found = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    before, start, error = peak(), time.perf_counter(), None
    for resize in ("crop", "keras"):
        try:
            decode_image(path.read_bytes(), Preprocessing(64, resize, 180_000_000))
        except ImageError as problem:
            error = problem.error
    found[path.name] = (error, peak() - before, time.perf_counter() - start)
print(json.dumps(found))
"""


@functools.cache
def bombs() -> dict[str, bytes]:
    """Small files that unfold, or claim again and again, what would take gigabytes or minutes."""
    size = (48, 48)
    claim = struct.pack("<HII", 7, 60_000, 8)
    tags = {256: 48, 257: 48, 258: 8, 259: 1, 262: 1}
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 5000)
    exif += b"".join(struct.pack("<H", 1000 + i) + claim for i in range(5000))
    zeros = zlib.compress(bytes(60 * MEGABYTE), 9)
    side = 25_000
    frame = struct.pack(">IIIIIHHBB", 0, side, side, 0, 0, 1, 1, 1, 0)
    comment = b"!\xfe" + (b"\xff" + bytes(range(1, 256))) * 40_000 + b"\0"
    jpeg, plain = plain_files()["plain.jpg"], plain_files()["plain.png"]
    return {
        "bomb_tags.tif": tiff(
            tags | dict.fromkeys(range(40_000, 60_000), struct.pack("<HII", 7, MEGABYTE, 8)),
            bytes(MEGABYTE),
        ),
        "bomb_exif.jpg": with_segments(jpeg, segment(0xE1, exif[:65_000])),
        "bomb_exif.png": with_chunks(plain, chunk(b"eXIf", exif[6:] + bytes(MEGABYTE))),
        "bomb_texts.png": with_chunks(plain, *[chunk(b"zTXt", b"a\0\0" + zeros)] * 20),
        "bomb_pixels.png": png(size, 8, 2, [bytes(100 * MEGABYTE)]),
        "bomb_dispose.png": png(
            (side, side), 8, 6, [b"\0"], chunk(b"acTL", bytes(7) + b"\2"), chunk(b"fcTL", frame)
        ),
        "bomb_comment.gif": gif(size, (0, 0, *size), bytes(48 * 48), [(0, 0, 0)] * 4, comment),
        "bomb_strip.tif": tiff(tags | {259: 8}, zeros),
        "bomb_strips.tif": tiff(
            tags
            | {256: 1, 257: MEGABYTE, 278: 1}
            | dict.fromkeys((273, 279), struct.pack("<HII", 4, MEGABYTE, 8)),
            bytes(4 * MEGABYTE),
        ),
        "bomb_rationals.tif": tiff(
            tags
            | dict.fromkeys(
                (258, 262, 266, 278, 284, 338, 339, 530), struct.pack("<HII", 5, MEGABYTE, 8)
            ),
            bytes(8 * MEGABYTE),
        ),
        "bomb_rows.png": png((1, 2 * MEGABYTE), 8, 0, [bytes(4 * MEGABYTE - 1)]),
        "bomb_row.bmp": bmp((MEGABYTE, 1), 32, bytes(4 * MEGABYTE)),
    }


def noisy() -> dict[str, bytes]:
    """TIFF files whose compressed data is damaged, which libtiff likes to talk about."""
    found, dice = {}, random.Random(3)
    for compression in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits", "lzma", "zstd", "group4"):
        image = picture().convert("1") if compression == "group4" else picture()
        content = saved(image, "TIFF", compression=compression)
        for number in range(6):
            damaged = bytearray(content)
            for _ in range(3 ** (number % 3)):
                damaged[dice.randrange(8, len(damaged))] ^= 1 << dice.randrange(8)
            found[f"noisy_{compression}_{number}.tif"] = bytes(damaged)
    found["noisy_samples.tif"] = tiff({256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 277: 99}, bytes(64))
    return found


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All of them decoded in a process of its own, with an eye on its memory and its screen."""
    if not Path("/proc/self/status").exists():
        pytest.skip("reads the memory of a process from /proc")
    folder = tmp_path_factory.mktemp("odd")
    files = {name: content for name, (content, _) in odd_images().items()} | bombs() | noisy()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return subprocess.run(
        [sys.executable, "-c", DECODE_ALL, str(folder)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=120,
    )


def test_no_odd_image_ends_the_process_or_writes_on_the_screen(decoded: Any) -> None:
    assert decoded.stderr == ""
    assert decoded.returncode == 0


def test_no_small_file_takes_much_memory_or_time(decoded: Any) -> None:
    found = json.loads(decoded.stdout)
    memory = {name: taken for name, (_, taken, _) in found.items()}
    seconds = {name: taken for name, (_, _, taken) in found.items()}
    assert sum(memory.values()) < 100 * MEGABYTE, sorted(memory.items(), key=lambda item: -item[1])
    assert max(seconds.values()) < 2, sorted(seconds.items(), key=lambda item: -item[1])


def test_bombs_do_not_cost_a_picture_that_can_be_shown(decoded: Any) -> None:
    found = json.loads(decoded.stdout)
    errors = {name: found[name][0] for name in bombs()}
    assert errors == dict.fromkeys(bombs()) | {
        "bomb_dispose.png": "too_many_pixels",
        "bomb_strips.tif": "unsupported_format",
        "bomb_rationals.tif": "unsupported_format",
    }


@pytest.mark.parametrize("name", sorted(set(plain_files()) - {"plain_lzw.tif"}))
def test_the_limit_of_pixels_is_exact(name: str) -> None:
    content = plain_files()[name]
    format = {"jpg": "JPEG", "tif": "TIFF"}.get(name[6:], name[6:].upper())
    assert open_image(content, format, 96 * 72).size == (96, 72)
    with pytest.raises(ImageError) as caught:
        open_image(content, format, 96 * 72 - 1)
    assert caught.value.error == "too_many_pixels"
    assert str(caught.value) == (
        f"{format} of 96 x 72 pixels is more than the limit of 6,911; raise --max-pixels to take it"
    )


def test_the_size_of_a_turned_tiff_is_the_stored_one() -> None:
    content = content_of("turned.tif")
    assert Image.open(io.BytesIO(content)).size == (72, 96)
    assert stored_size(open_image(content, "TIFF", 10**6)) == (96, 72)


def test_a_row_of_megabytes_is_read_at_once() -> None:
    """Pillow would append 64 kB at a time to what it has of the row, and copy it each time."""
    wide = bmp((4_000_000, 1), 32, bytes(16_000_000))
    reads: list[int] = []

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            reads.append(1)
            return super().read(size)

    image = open_image(wide, "BMP", 10**8)
    image.fp = Counted(wide)
    image.load()
    assert len(reads) == 1
