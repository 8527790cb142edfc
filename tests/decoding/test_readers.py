import io
import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.ImageFile import ImageFile

from tests.helpers.image_files import gif, saved
from tests.helpers.model_fixtures import ROOT
from tests.helpers.odd_images import picture, plain_files
from tests.helpers.short_files import jpeg_cut, png_rows, short_files
from transforms.decoding.decode_image import Preprocessing, decode_opened, open_for_decoding
from transforms.decoding.readers import READERS
from transforms.failures import ImageError

AS_ASKED = Preprocessing(64, "crop", 10**8)
# The inks that mark what is not yet decoded, as palette index or grey, and as colour.
INK, INK_OF_COLOUR = 165, (165, 90, 214)


def error_of(content: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode_opened(open_for_decoding(content, AS_ASKED), AS_ASKED)
    return caught.value


def loaded(content: bytes, name: str) -> ImageFile:
    image = READERS[name](io.BytesIO(content))
    image.load()
    return image


def looks(monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    """Grows with each time that Pillow decodes an image of a format."""
    found: list[int] = []
    load_prepare = READERS[name].load_prepare

    def counted(image: ImageFile) -> None:
        found.append(1)
        load_prepare(image)

    monkeypatch.setattr(READERS[name], "load_prepare", counted)
    return found


@pytest.mark.parametrize("name", sorted(short_files()))
@pytest.mark.parametrize("resize", ["crop", "keras"])
def test_a_file_that_lacks_pixels_is_truncated(name: str, resize: Any) -> None:
    as_asked = AS_ASKED._replace(resize=resize)
    with pytest.raises(ImageError) as caught:
        decode_opened(open_for_decoding(short_files()[name], as_asked), as_asked)
    assert caught.value.error == "truncated"


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (3, 3), (1, 7), (7, 1), (8, 8), (33, 17)])
@pytest.mark.parametrize("is_interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), [(0, 1), (0, 8), (2, 8), (3, 4), (6, 16)])
def test_a_png_of_any_shape_that_lacks_its_last_row_is_truncated(
    size: tuple[int, int], is_interlaced: bool, colour: int, depth: int
) -> None:
    assert loaded(png_rows(size, depth, colour, 0, is_interlaced), "PNG").size == size
    assert error_of(png_rows(size, depth, colour, 1, is_interlaced)).error == "truncated"


@pytest.mark.parametrize("is_interlaced", [False, True])
@pytest.mark.parametrize("size", [(24, 16), (1, 9), (9, 1), (2, 2)])
def test_an_interlaced_gif_that_lacks_a_pixel_is_truncated(
    size: tuple[int, int], is_interlaced: bool
) -> None:
    def file(count: int) -> bytes:
        content = bytearray(gif(size, (0, 0, *size), bytes(count), [(9, 9, 9)] * 4))
        content[content.index(b",") + 9] |= 0x40 * is_interlaced
        return bytes(content)

    pixels = size[0] * size[1]
    assert loaded(file(pixels), "GIF").size == size
    assert error_of(file(pixels - 1)).error == "truncated"


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "I;16", "1", "LA", "RGBA"])
def test_a_png_in_the_colour_of_the_ink_is_whole(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bands = len(Image.new(mode, (1, 1)).getbands())
    ink = INK if bands == 1 else (165, 90, 214, 37)[:bands]
    image = Image.new(mode, (30, 20), ink)
    if mode == "P":
        image.putpalette([value for index in range(256) for value in (index, 7, 9)])
    counted = looks(monkeypatch, "PNG")
    found = loaded(saved(image, "PNG"), "PNG")
    np.testing.assert_array_equal(
        np.asarray(found.convert("RGB")), np.asarray(image.convert("RGB"))
    )
    assert len(counted) == (1 if mode == "1" else 2)


def test_an_ordinary_picture_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PNG", "JPEG", "GIF"):
        counted = looks(monkeypatch, name)
        loaded(saved(picture(), name), name)
        assert len(counted) == 1, name


GREY_CORNERS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "optimised": {"optimize": True, "quality": 30},
    "restarts": {"restart_marker_blocks": 5},
    "full chroma": {"subsampling": 0},
}


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("name", GREY_CORNERS)
def test_a_jpeg_that_ends_in_grey_is_whole(
    name: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture().resize((320, 240))
    image.paste((128, 128, 128), (240, 160, 320, 240))
    content = saved(image.convert(mode), "JPEG", **GREY_CORNERS[name])
    counted = looks(monkeypatch, "JPEG")
    for draft in (None, (64, 64)):
        expected = Image.open(io.BytesIO(content))
        found = READERS["JPEG"](io.BytesIO(content))
        for one in (expected, found):
            one.draft(None, draft)
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
    assert len(counted) == (2 if mode == "CMYK" else 4)
    if name != "progressive":
        assert error_of(jpeg_cut(content, 50)).error == "truncated"


PERTURBED = """
import hashlib, json
from tests.helpers.odd_images import plain_files, odd_images
from tests.helpers.short_files import short_files
from transforms.decoding.decode_image import Preprocessing, decode_opened, open_for_decoding
from transforms.failures import ImageError

def cuts():
    for name, content in plain_files().items():
        for percent in range(0, 100, 9):
            yield f"{name} {percent}", content[: len(content) * percent // 100]
    for name, (content, error) in odd_images().items():
        if error == "too_many_pixels":
            continue
        yield name, content
        yield f"cut {name}", content[: len(content) * 3 // 4] + content[-20:]
    yield from short_files().items()

found = {}
for name, content in cuts():
    as_asked = Preprocessing(64, "crop", 10**8)
    try:
        picture = decode_opened(open_for_decoding(content, as_asked), as_asked)
        found[name] = hashlib.md5(picture.pixels.tobytes()).hexdigest()
    except ImageError as error:
        found[name] = f"{error.error}: {error}"
print(json.dumps(found))
"""


def test_what_memory_held_before_makes_no_difference() -> None:
    """glibc fills what is allocated with the complement of MALLOC_PERTURB_."""
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PERTURBED],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT), "MALLOC_PERTURB_": value},
        )
        for value in ("85", "170")
    ]
    first, second = (json.loads(run.communicate()[0]) for run in runs)
    assert len(first) > 300
    assert {name for name in first if first[name] != second[name]} == set()
    assert sum(not value.startswith("truncated") for value in first.values()) > 100
    assert plain_files().keys() <= {name.split()[0] for name in first}
