import io
import struct

import numpy as np
import pytest
from PIL import Image

from tests.helpers.image_files import exif, lossless_jpeg, saved, segment, with_segments
from tests.helpers.odd_images import content_of, picture, plain_files
from transforms.decoding.files import strip_jpeg as module
from transforms.decoding.files.stripped import Stripped
from transforms.failures import ImageError

LIMIT = 180_000_000


def strip_jpeg(content: bytes, max_pixels: int = LIMIT) -> Stripped:
    return module.strip_jpeg(content, max_pixels)


def pixels(content: bytes) -> object:
    return np.asarray(Image.open(io.BytesIO(content)))


def refused(content: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        strip_jpeg(content)
    assert caught.value.error == "unsupported_format"
    return str(caught.value)


def test_a_jpeg_loses_its_application_data_and_comments() -> None:
    jpeg = plain_files()["plain.jpg"]
    extra = [segment(marker, b"x" * 30) for marker in (*range(0xE1, 0xEE), 0xEF, 0xFE)]
    assert strip_jpeg(with_segments(jpeg, *extra)).content == jpeg


def test_a_jpeg_keeps_what_tells_its_colours() -> None:
    cmyk = content_of("cmyk.jpg")
    assert b"Adobe" in strip_jpeg(cmyk).content
    assert b"JFIF" in strip_jpeg(plain_files()["plain.jpg"]).content


@pytest.mark.parametrize("body", [b"", b"JFIF\0", b"Adobe"])
@pytest.mark.parametrize("marker", [0xE0, 0xEE])
def test_a_jpeg_loses_a_broken_marker_of_colours(marker: int, body: bytes) -> None:
    jpeg = plain_files()["plain.jpg"]
    assert strip_jpeg(with_segments(jpeg, segment(marker, body))).content == jpeg


def test_the_first_exif_of_a_jpeg_counts() -> None:
    bodies = (b"http://ns.adobe.com/xap/1.0/\0", b"Exif\0\0" + exif(6), b"Exif\0\0" + exif(3))
    segments = (segment(0xE1, body) for body in bodies)
    assert strip_jpeg(with_segments(plain_files()["plain.jpg"], *segments)).orientation == 6


def test_no_lossless_jpeg_is_scaled() -> None:
    lossless = lossless_jpeg(np.asarray(picture().convert("L")))
    assert not strip_jpeg(lossless).is_scalable


def test_a_jpeg_is_scaled_only_if_its_header_was_read_to_the_end() -> None:
    jpeg = plain_files()["plain.jpg"]
    frame = jpeg.index(b"\xff\xc0")
    size = 2 + int.from_bytes(jpeg[frame + 2 : frame + 4], "big")
    assert not strip_jpeg(jpeg[:frame] + b"junk" + jpeg[frame:]).is_scalable
    assert not strip_jpeg(jpeg[:frame] + jpeg[frame : frame + size] + jpeg[frame:]).is_scalable
    scan = jpeg.index(b"\xff\xda")
    assert not strip_jpeg(jpeg[:scan] + b"junk" + jpeg[scan:]).is_scalable
    assert strip_jpeg(content_of("progressive.jpg")).is_scalable


def test_a_jpeg_with_scans_without_end_is_refused() -> None:
    progressive = content_of("progressive.jpg")
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    content = progressive[:-2] + scan * 200 + b"\xff\xd9"
    assert strip_jpeg(content).is_whole
    with pytest.raises(ImageError, match=r"JPEG with 210 scans of 6,912 pixels") as caught:
        strip_jpeg(content, max_pixels=70_000)
    assert caught.value.error == "too_many_pixels"


def test_scans_behind_a_header_that_cannot_be_followed_count_as_of_the_largest_image() -> None:
    progressive = content_of("progressive.jpg")
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    hidden = progressive[:2] + b"junk" + progressive[2:-2] + b"\xff\xd9"
    many = hidden[:-2] + scan * 20 + b"\xff\xd9"
    assert strip_jpeg(hidden, LIMIT).is_whole
    with pytest.raises(ImageError, match=r"JPEG with 30 scans of 180,000,000 pixels"):
        strip_jpeg(many, LIMIT)


def test_scans_of_what_follows_a_jpeg_do_not_count() -> None:
    content = plain_files()["plain.jpg"] + b"\xff\xda" * 1000
    assert strip_jpeg(content, max_pixels=10_000).is_whole


def test_saved_metadata_costs_no_pixel() -> None:
    turned = b"Exif\0\0" + exif(6)
    jpeg = saved(picture(), "JPEG", exif=turned, comment=b"x", icc_profile=b"x" * 200)
    np.testing.assert_array_equal(
        pixels(strip_jpeg(jpeg).content), pixels(plain_files()["plain.jpg"])
    )


def test_exif_may_be_cut_into_segments() -> None:
    whole = b"Exif\0\0" + exif(6)
    parts = segment(0xE1, whole[:20]), segment(0xE1, b"Exif\0\0" + whole[20:])
    assert strip_jpeg(with_segments(plain_files()["plain.jpg"], *parts)).orientation == 6


@pytest.mark.parametrize(
    ("marker", "name"),
    [
        (0xC5, "hierarchical JPEG"),
        (0xC7, "hierarchical JPEG"),
        (0xCB, "lossless JPEG in arithmetic coding"),
        (0xCF, "hierarchical JPEG"),
        (0xDE, "hierarchical JPEG"),
        (0xF7, "JPEG-LS"),
    ],
)
def test_a_jpeg_of_a_process_that_nobody_decodes_is_named(marker: int, name: str) -> None:
    content = plain_files()["plain.jpg"].replace(b"\xff\xc0", bytes((0xFF, marker)))
    assert refused(content) == f"{name} is not decoded; re-save it"


def test_a_jpeg_whose_height_comes_late_is_healthy_and_not_decoded() -> None:
    jpeg = plain_files()["plain.jpg"]
    frame = jpeg.index(b"\xff\xc0")
    without = jpeg[: frame + 5] + bytes(2) + jpeg[frame + 7 :]
    late = without[:-2] + segment(0xDC, struct.pack(">H", 72)) + without[-2:]
    what = "JPEG whose height stands behind its first scan (DNL)"
    assert refused(late) == f"{what} is not decoded; re-save it"
    both = jpeg[:-2] + segment(0xDC, struct.pack(">H", 72)) + jpeg[-2:]
    assert strip_jpeg(both).is_whole
    assert strip_jpeg(without).is_whole  # and has no height at all, which is for the decoder to say
