import io
import struct
import time

import numpy as np
import pytest
from PIL import Image

from tests.helpers.image_files import (
    chunk,
    exif,
    gif,
    lossless_jpeg,
    saved,
    segment,
    with_chunks,
    with_segments,
)
from tests.helpers.odd_images import content_of, picture, plain_files
from transforms.decoding.formats import name_format
from transforms.decoding.strip_metadata import Stripped, strip_metadata
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


def test_a_jpeg_loses_its_application_data_and_comments() -> None:
    jpeg = plain_files()["plain.jpg"]
    extra = [segment(marker, b"x" * 30) for marker in (*range(0xE1, 0xEE), 0xEF, 0xFE)]
    assert strip(with_segments(jpeg, *extra)).content == jpeg


def test_a_jpeg_keeps_what_tells_its_colours() -> None:
    cmyk = content_of("cmyk.jpg")
    assert b"Adobe" in strip(cmyk).content
    assert b"JFIF" in strip(plain_files()["plain.jpg"]).content


@pytest.mark.parametrize("body", [b"", b"JFIF\0", b"Adobe"])
@pytest.mark.parametrize("marker", [0xE0, 0xEE])
def test_a_jpeg_loses_a_broken_marker_of_colours(marker: int, body: bytes) -> None:
    jpeg = plain_files()["plain.jpg"]
    assert strip(with_segments(jpeg, segment(marker, body))).content == jpeg


def test_the_first_exif_of_a_jpeg_counts() -> None:
    bodies = (b"http://ns.adobe.com/xap/1.0/\0", b"Exif\0\0" + exif(6), b"Exif\0\0" + exif(3))
    segments = (segment(0xE1, body) for body in bodies)
    assert strip(with_segments(plain_files()["plain.jpg"], *segments)).orientation == 6


@pytest.mark.parametrize("name", ["turned.png", "turned.webp", "turned_6.jpg"])
def test_orientation_is_found_in_every_container(name: str) -> None:
    assert strip(content_of(name)).orientation == 6


def test_orientation_behind_a_chunk_of_odd_length_of_a_webp_is_found() -> None:
    assert strip(saved(picture(), "WEBP", icc_profile=b"odd", exif=exif(6))).orientation == 6


def test_orientation_behind_the_pixels_of_a_png_is_found() -> None:
    plain = plain_files()["plain.png"]
    assert strip(plain[:-12] + chunk(b"eXIf", exif(8)) + plain[-12:]).orientation == 8


def test_a_png_keeps_only_what_makes_pixels() -> None:
    plain = plain_files()["plain.png"]
    extra = [
        chunk(kind, b"x" * 20) for kind in (b"tEXt", b"zTXt", b"iCCP", b"acTL", b"fcTL", b"pRIv")
    ]
    assert strip(with_chunks(plain, *extra) + b"trailing").content == plain


def test_a_gif_keeps_its_first_frame_and_the_last_control_before_it() -> None:
    control = b"!\xf9\4\1\0\0" + b"\1\0"
    frame = gif((4, 4), (0, 0, 4, 4), bytes(16), COLOURS, control)
    comment = b"!\xfe\3abc\0"
    long = gif(
        (4, 4), (0, 0, 4, 4), bytes(16), COLOURS, comment, b"!\xf9\4\0\0\0\0\0", control, comment
    )
    assert strip(long[:-1] + comment + long[25:]).content == frame[:-1]


def test_no_lossless_jpeg_is_scaled() -> None:
    lossless = lossless_jpeg(np.asarray(picture().convert("L")))
    assert not strip(lossless).is_scalable


def test_a_jpeg_is_scaled_only_if_its_header_was_read_to_the_end() -> None:
    jpeg = plain_files()["plain.jpg"]
    frame = jpeg.index(b"\xff\xc0")
    size = 2 + int.from_bytes(jpeg[frame + 2 : frame + 4], "big")
    assert not strip(jpeg[:frame] + b"junk" + jpeg[frame:]).is_scalable
    assert not strip(jpeg[:frame] + jpeg[frame : frame + size] + jpeg[frame:]).is_scalable
    scan = jpeg.index(b"\xff\xda")
    assert not strip(jpeg[:scan] + b"junk" + jpeg[scan:]).is_scalable
    assert strip(content_of("progressive.jpg")).is_scalable


def test_a_jpeg_with_scans_without_end_is_refused() -> None:
    progressive = content_of("progressive.jpg")
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    content = progressive[:-2] + scan * 200 + b"\xff\xd9"
    assert strip(content).is_whole
    with pytest.raises(ImageError, match=r"JPEG with 210 scans of 6,912 pixels") as caught:
        strip(content, max_pixels=70_000)
    assert caught.value.error == "too_many_pixels"


def test_scans_behind_a_header_that_cannot_be_followed_count_as_of_the_largest_image() -> None:
    progressive = content_of("progressive.jpg")
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    hidden = progressive[:2] + b"junk" + progressive[2:-2] + b"\xff\xd9"
    many = hidden[:-2] + scan * 20 + b"\xff\xd9"
    assert strip_metadata(hidden, "JPEG", LIMIT).is_whole
    with pytest.raises(ImageError, match=r"JPEG with 30 scans of 180,000,000 pixels"):
        strip_metadata(many, "JPEG", LIMIT)


def test_scans_of_what_follows_a_jpeg_do_not_count() -> None:
    content = plain_files()["plain.jpg"] + b"\xff\xda" * 1000
    assert strip(content, max_pixels=10_000).is_whole


def test_a_png_with_a_wrong_length_is_damaged_and_not_cut() -> None:
    plain = plain_files()["plain.png"]
    wrong = plain[:33] + (1000).to_bytes(4, "big") + plain[37:]
    assert strip(wrong).is_whole
    assert strip(wrong).content.startswith(plain[:33])


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


def test_a_broken_transparency_of_a_png_is_left_out() -> None:
    plain = plain_files()["plain.png"]
    key = chunk(b"tRNS", b"\0\1\0\2\0\3")
    assert strip(with_chunks(plain, key)).content == with_chunks(plain, key)
    assert strip(with_chunks(plain, key[:-1] + b"?")).content == plain
    assert strip(with_chunks(plain, chunk(b"tRNS", b"\0\1"))).content == plain


@pytest.mark.parametrize(
    ("depth", "colour", "stored", "kept"),
    [
        (1, 0, (1,), (255,)),
        (2, 0, (2,), (170,)),
        (4, 0, (3,), (51,)),
        (8, 0, (77,), (77,)),
        (16, 0, (30000,), (30000,)),
        (16, 2, (0x1234, 0x5678, 0x9ABC), (0x12, 0x56, 0x9A)),
    ],
)
def test_the_transparent_value_of_a_png_is_put_on_the_scale_of_its_pixels(
    depth: int, colour: int, stored: tuple[int, ...], kept: tuple[int, ...]
) -> None:
    header = struct.pack(">IIBBBBB", 1, 1, depth, colour, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    found = strip(start + chunk(b"tRNS", struct.pack(f">{len(stored)}H", *stored))).content
    assert found == start + chunk(b"tRNS", struct.pack(f">{len(kept)}H", *kept))


def test_saved_metadata_costs_no_pixel() -> None:
    turned = b"Exif\0\0" + exif(6)
    jpeg = saved(picture(), "JPEG", exif=turned, comment=b"x", icc_profile=b"x" * 200)
    np.testing.assert_array_equal(pixels(strip(jpeg).content), pixels(plain_files()["plain.jpg"]))


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
