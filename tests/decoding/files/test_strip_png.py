import io
import struct
import zlib

import keras
import numpy as np
import pytest
from PIL import Image

from tests.helpers.image_files import chunk, exif, png, saved, with_chunks
from tests.helpers.odd_images import picture, plain_files
from transforms.decode_images import Preprocessing, decode_image
from transforms.decoding.files import strip_png as module
from transforms.decoding.files.stripped import Stripped

RED, GREEN = (200, 30, 40), (20, 180, 60)
PALETTE = chunk(b"PLTE", bytes((*RED, *GREEN, 30, 60, 220)))


def strip_png(content: bytes) -> Stripped:
    return module.strip_png(content)


def test_orientation_behind_the_pixels_of_a_png_is_found() -> None:
    plain = plain_files()["plain.png"]
    assert strip_png(plain[:-12] + chunk(b"eXIf", exif(8)) + plain[-12:]).orientation == 8


def test_the_last_exif_of_a_png_counts() -> None:
    first, last = chunk(b"eXIf", exif(6)), chunk(b"eXIf", exif(8))
    content = with_chunks(plain_files()["plain.png"], first, last)
    assert Image.open(io.BytesIO(content)).getexif()[0x0112] == 8
    assert strip_png(content).orientation == 8


def test_a_png_keeps_only_what_makes_pixels() -> None:
    plain = plain_files()["plain.png"]
    extra = [
        chunk(kind, b"x" * 20) for kind in (b"tEXt", b"zTXt", b"iCCP", b"acTL", b"fcTL", b"pRIv")
    ]
    assert strip_png(with_chunks(plain, *extra) + b"trailing").content == plain


def test_a_png_with_a_wrong_length_is_damaged_and_not_cut() -> None:
    plain = plain_files()["plain.png"]
    wrong = plain[:33] + (1000).to_bytes(4, "big") + plain[37:]
    assert strip_png(wrong).is_whole
    assert strip_png(wrong).content.startswith(plain[:33])


def test_a_broken_transparency_of_a_png_is_left_out() -> None:
    plain = plain_files()["plain.png"]
    key = chunk(b"tRNS", b"\0\1\0\2\0\3")
    assert strip_png(with_chunks(plain, key)).content == with_chunks(plain, key)
    assert strip_png(with_chunks(plain, key[:-1] + b"?")).content == plain
    assert strip_png(with_chunks(plain, chunk(b"tRNS", b"\0\1"))).content == plain


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
    found = strip_png(start + chunk(b"tRNS", struct.pack(f">{len(stored)}H", *stored))).content
    assert found == start + chunk(b"tRNS", struct.pack(f">{len(kept)}H", *kept))


@pytest.mark.parametrize(
    ("depth", "colour", "stored", "kept"),
    [
        (2, 0, (0xFFFE,), (170,)),
        (8, 0, (0x0180,), (0x80,)),
        (8, 2, (0x0101, 2, 0xFF03), (1, 2, 3)),
    ],
)
def test_only_the_bits_of_a_transparent_value_that_the_depth_has_count(
    depth: int, colour: int, stored: tuple[int, ...], kept: tuple[int, ...]
) -> None:
    rows = [bytes(12)]
    key, expected = (chunk(b"tRNS", struct.pack(f">{len(v)}H", *v)) for v in (stored, kept))
    assert strip_png(png((4, 1), depth, colour, rows, key)).content == png(
        (4, 1), depth, colour, rows, expected
    )


OPAQUE, KEY = chunk(b"tRNS", b"\0\x07"), chunk(b"tRNS", b"\0\x05")


@pytest.mark.parametrize(
    ("colour", "given", "kept"),
    [
        (0, (KEY, OPAQUE), (KEY,)),
        (0, (chunk(b"tRNS", bytes(6)), KEY), (KEY,)),
        (2, (KEY,), ()),
        (3, (PALETTE, chunk(b"tRNS", b"\0\1\2")), (PALETTE, chunk(b"tRNS", b"\0\1\2"))),
        (3, (PALETTE, chunk(b"tRNS", b"\0\1\2\3")), (PALETTE,)),
        (3, (PALETTE, chunk(b"tRNS")), (PALETTE,)),
        (3, (chunk(b"tRNS", b"\0"), PALETTE), (PALETTE,)),
        (4, (KEY,), ()),
        (4, (chunk(b"tRNS", bytes(4)),), ()),
        (6, (chunk(b"tRNS", bytes(6)),), ()),
        (6, (chunk(b"tRNS", bytes(8)),), ()),
    ],
)
def test_transparency_that_libpng_leaves_out_is_left_out(
    colour: int, given: tuple[bytes, ...], kept: tuple[bytes, ...]
) -> None:
    rows = [bytes(16)]
    content = png((2, 1), 8, colour, rows, *given)
    assert strip_png(content).content == png((2, 1), 8, colour, rows, *kept)


def test_transparency_behind_the_pixels_is_left_out() -> None:
    content = png((2, 1), 8, 0, [b"\5\7"])
    assert strip_png(content[:-12] + KEY + content[-12:]).content == content


def animation(frame: Image.Image, place: tuple[int, int], *before: bytes, first: int = 0) -> bytes:
    """A red PNG whose default image is hidden, and then `frame`, and a green one."""

    def control(number: int, size: tuple[int, int], at: tuple[int, int]) -> bytes:
        return chunk(b"fcTL", struct.pack(">5IHHBB", number, *size, *at, 1, 10, 0, 0))

    def data(number: int, image: Image.Image) -> bytes:
        rows = (
            b"\0" + image.tobytes()[i:][: 3 * image.width]
            for i in range(0, 3 * image.width * image.height, 3 * image.width)
        )
        stored = zlib.compress(b"".join(rows))
        half = len(stored) // 2
        return chunk(b"fdAT", struct.pack(">I", number) + stored[:half]) + chunk(
            b"fdAT", struct.pack(">I", number + 1) + stored[half:]
        )

    size = picture().size
    still = saved(Image.new("RGB", size, RED), "PNG")
    later = Image.new("RGB", size, GREEN)
    count = chunk(b"acTL", struct.pack(">II", 2, 0))
    frames = control(first, frame.size, place) + data(1, frame) + control(3, size, (0, 0))
    return with_chunks(still[:-12] + frames + data(4, later) + still[-12:], count, *before)


def decoded(content: bytes) -> object:
    return decode_image(content, Preprocessing(72, "crop", 10**6)).pixels


def test_the_first_frame_of_an_animation_counts_where_the_default_image_is_hidden() -> None:
    content = animation(picture(), (0, 0))
    browsers = Image.open(io.BytesIO(content))
    browsers.seek(1)
    expected = decoded(saved(browsers.convert("RGB"), "PNG"))
    np.testing.assert_array_equal(decoded(content), expected)
    np.testing.assert_array_equal(expected, decoded(saved(picture(), "PNG")))
    np.testing.assert_array_equal(expected, decoded(animation(picture(), (0, 0), first=9)))


def test_keras_shows_the_default_image_though_it_is_hidden() -> None:
    content = animation(picture(), (0, 0))
    expected = keras.utils.load_img(io.BytesIO(content), target_size=(72, 72))
    found = decode_image(content, Preprocessing(72, "keras", 10**6)).pixels
    np.testing.assert_array_equal(found, np.asarray(expected))
    assert (found == RED).all()


def test_a_first_frame_that_leaves_a_part_of_the_canvas_free_lies_on_white() -> None:
    small = picture().resize((40, 30))
    expected = Image.new("RGB", picture().size, "white")
    expected.paste(small, (12, 8))
    np.testing.assert_array_equal(
        decoded(animation(small, (12, 8))), decoded(saved(expected, "PNG"))
    )


def test_a_default_image_that_is_the_first_frame_or_has_no_other_is_kept() -> None:
    first = chunk(b"fcTL", struct.pack(">5IHHBB", 0, *picture().size, 0, 0, 1, 10, 0, 0))
    shown = animation(picture(), (0, 0), first)
    outside = animation(picture(), (1, 0))
    still = animation(picture(), (0, 0)).replace(b"fdAT", b"fdAt")
    for content in (shown, outside, still):
        assert (decode_image(content, Preprocessing(72, "crop", 10**6)).pixels == RED).all()
