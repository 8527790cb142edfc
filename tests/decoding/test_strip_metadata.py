import io
import time

import numpy as np
import pytest
from PIL import Image

from tests.helpers.image_files import (
    chunk,
    exif,
    gif,
    saved,
    segment,
)
from tests.helpers.odd_images import content_of, picture, plain_files
from transforms.decoding.files.stripped import Stripped
from transforms.decoding.formats import name_format
from transforms.decoding.strip_metadata import strip_metadata
from transforms.failures import ImageError

LIMIT = 180_000_000
COLOURS = ((200, 30, 40), (20, 180, 60), (30, 60, 220), (250, 250, 250))


def strip(content: bytes, max_pixels: int = LIMIT) -> Stripped:
    return strip_metadata(content, str(name_format(content)), max_pixels)


def pixels(content: bytes) -> object:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize("name", sorted(plain_files()))
def test_a_plain_file_keeps_its_pixels_and_is_whole(name: str) -> None:
    content = plain_files()[name]
    stripped = strip(content)
    np.testing.assert_array_equal(pixels(stripped.content), pixels(content))
    assert stripped.orientation == 1
    assert stripped.is_whole
    assert stripped.is_scalable == (name == "plain.jpg")


@pytest.mark.parametrize("name", ["turned.png", "turned.webp", "turned_6.jpg"])
def test_orientation_is_found_in_every_container(name: str) -> None:
    assert strip(content_of(name)).orientation == 6


def test_orientation_behind_a_chunk_of_odd_length_of_a_webp_is_found() -> None:
    assert strip(saved(picture(), "WEBP", icc_profile=b"odd", exif=exif(6))).orientation == 6


def test_a_gif_keeps_its_first_frame_and_the_last_control_before_it() -> None:
    control = b"!\xf9\4\1\0\0" + b"\1\0"
    frame = gif((4, 4), (0, 0, 4, 4), bytes(16), COLOURS, control)
    comment = b"!\xfe\3abc\0"
    long = gif(
        (4, 4), (0, 0, 4, 4), bytes(16), COLOURS, comment, b"!\xf9\4\0\0\0\0\0", control, comment
    )
    assert strip(long[:-1] + comment + long[25:]).content == frame[:-1]


@pytest.mark.parametrize("name", ["plain.jpg", "plain.png", "plain.webp", "plain.bmp"])
def test_a_cut_file_is_not_whole(name: str) -> None:
    content = plain_files()[name]
    for length in (*range(12 if name == "plain.webp" else 26, len(content), 97), len(content) - 1):
        assert not strip(content[:length]).is_whole


def test_a_gif_is_whole_when_its_first_frame_is() -> None:
    content = plain_files()["plain.gif"]
    assert strip(content[:-1]).is_whole
    assert not any(strip(content[:length]).is_whole for length in range(13, len(content) - 1))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("huge.gif", "GIF of 50000 x 50000"),
        ("huge_frame.gif", "GIF of 50000 x 50000"),
        ("huge.webp", "WEBP of 50000 x 50000"),
    ],
)
def test_a_canvas_without_end_is_refused(name: str, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        strip(content_of(name))


JPEG_PART, PNG_PART, GIF_PART = segment(0xFE, b""), chunk(b"teXt"), b"!\xfe\0"


@pytest.mark.parametrize(
    ("name", "at", "part", "most"),
    [
        ("plain.jpg", 2, JPEG_PART, 200_000),
        ("plain.png", 33, PNG_PART, 200_000),
        ("plain.png", 33, chunk(b"IDAT"), 200_000),
        ("plain.gif", 13 + 768, GIF_PART, 500_000),
    ],
)
def test_a_file_that_is_nothing_but_parts_is_refused_soon(
    name: str, at: int, part: bytes, most: int
) -> None:
    content = plain_files()[name]
    start = time.perf_counter()
    with pytest.raises(ImageError) as caught:
        strip(content[:at] + part * most + content[at:])
    assert time.perf_counter() - start < 5
    assert caught.value.error == "corrupt"
    assert str(caught.value) == f"{name_format(content)} in more than {most:,} parts"
    assert strip(content[:at] + part * 10_000 + content[at:]).is_whole
