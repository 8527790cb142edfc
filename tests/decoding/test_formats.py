import gzip
import re

import pytest

from tests.helpers.odd_images import odd_images, plain_files
from transforms.decoding.formats import FORMATS, name_format


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("plain.jpg", "JPEG"),
        ("plain.png", "PNG"),
        ("plain.gif", "GIF"),
        ("plain.bmp", "BMP"),
        ("plain.webp", "WEBP"),
        ("plain.tif", "TIFF"),
    ],
)
def test_the_six_decoded_formats_are_told_by_their_first_bytes(name: str, format: str) -> None:
    assert format in FORMATS
    assert name_format(plain_files()[name][:18]) == format


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("drawing.svg", "SVG"),
        ("plain_drawing.svg", "SVG"),
        ("phone.heic", "HEIF"),
        ("new.avif", "AVIF"),
        ("new.jp2", "JPEG 2000"),
        ("new.jxl", "JPEG XL"),
        ("layers.psd", "PSD"),
        ("sign.ico", "ICO"),
        ("sign.cur", "CUR"),
        ("page.pdf", "PDF"),
        ("page.eps", "PostScript"),
        ("old.tga", "TGA"),
        ("old.ppm", "Netpbm"),
        ("crushed.png", "CgBI PNG"),
        ("old.pcx", "PCX"),
        ("old.sgi", "SGI"),
        ("old.xbm", "XBM"),
        ("scan.dcm", "DICOM"),
        ("packed.jpg.gz", "JPEG in gzip"),
        ("camera.nef", "Nikon raw"),
        ("camera.dng", "DNG"),
    ],
)
def test_a_format_that_is_not_decoded_is_named(name: str, format: str) -> None:
    assert name_format(odd_images()[name][0]) == format
    assert format not in FORMATS


@pytest.mark.parametrize("header", [12, 16, 40, 52, 56, 64, 108, 124])
def test_a_bmp_is_told_by_the_size_of_its_header(header: int) -> None:
    assert name_format(b"BM" + bytes(12) + bytes((header, 0, 0, 0))) == "BMP"
    assert name_format(b"BM" + bytes(12) + bytes((header + 1, 0, 0, 0))) is None


def test_the_other_kind_of_jpeg_is_named() -> None:
    assert name_format(b"\xff\xd8\xff\xf7\0\x0b") == "JPEG-LS"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"BMW and other cars that are no bitmap",
        b"P1 is the first process",
        b"GIF is pronounced with a soft g",
        b"MM is the abbreviation of millimetre",
        b"<!DOCTYPE html><html><body><svg></svg></body></html>",
        b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"xxxxxxxxWEBP",
        b"\0\0\0\x18ftypmp42\0\0\0\0",
        b"PK\3\4",
        b"\x1f\x8b\x08",
        bytes(64),
    ],
)
def test_what_is_no_image_has_no_format(content: bytes) -> None:
    assert name_format(content) is None


@pytest.mark.parametrize("name", ["plain.jpg", "plain.png", "plain.gif", "plain.bmp", "plain.tif"])
def test_a_file_cut_within_its_signature_is_still_told(name: str) -> None:
    content = plain_files()[name]
    formats = {name_format(content[:length]) for length in range(2, 30)}
    assert formats == {name_format(content)}


def test_only_an_image_in_gzip_is_named() -> None:
    assert name_format(gzip.compress(b"<svg/>")) == "SVG in gzip"
    assert name_format(gzip.compress(plain_files()["plain.tif"])) == "TIFF in gzip"
    assert name_format(gzip.compress(b"a text")) is None
    assert name_format(gzip.compress(gzip.compress(b"<svg/>"))) is None


@pytest.mark.parametrize(
    ("content", "format"),
    [
        (b"#define cat_width 16\n#define cat_height 7\n", "XBM"),
        (b"/* a cat */\n#define width 16", "XBM"),
        (b"#define _GNU_SOURCE\n", None),
        (b"\x0a\5\1\x08", "PCX"),
        (b"\x0a\1\1\x08", None),
        (b"\n5 1 8", None),
        (b"\x01\xda\1\1\0\3", "SGI"),
        (b"\x01\xda\1\1\0\4", None),
        (b"FORM\0\0\1\0ILBMBMHD", "IFF"),
        (b"FORM\0\0\1\0AIFFCOMM", None),
        (b"MMOR\0\0\0\x08", "Olympus raw"),
        (b"II\x1a\0\0\0HEAPCCDR", "Canon raw"),
    ],
)
def test_what_short_signatures_are_told_by(content: bytes, format: str | None) -> None:
    assert name_format(content) == format


def test_a_byte_order_mark_and_a_comment_may_stand_before_a_drawing() -> None:
    assert name_format(b"\xef\xbb\xbf \n<!-- made by hand -->\n<svg/>") == "SVG"


def test_every_named_format_can_stand_in_a_message() -> None:
    names = {name_format(content) for content, _ in odd_images().values()} - {None}
    assert all(re.fullmatch(r"[A-Za-z0-9 ]+", str(name)) for name in names)
