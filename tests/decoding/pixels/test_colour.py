"""Every colour space and depth against its formula; each file is as large as the result."""

import struct
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.image_files import bmp, chunk, gif, png, saved, tiff
from transforms.decode_images import Preprocessing, decode_image

SIDE = 4
SIZE = (SIDE, SIDE)
COUNT = SIDE * SIDE
COLOURS = ((200, 30, 40), (20, 180, 60), (30, 60, 220), (250, 250, 251))
RED, WHITE = [200, 30, 40], [255, 255, 255]
GREY_TIFF = {256: SIDE, 257: SIDE, 259: 1, 262: 1}


def decoded(content: bytes) -> NDArray[np.uint8]:
    return decode_image(content, Preprocessing(SIDE, "crop", 10**6)).pixels


def grey_of(content: bytes) -> list[int]:
    """One value a pixel, after a check that red, green and blue are the same."""
    pixels = decoded(content)
    np.testing.assert_array_equal(pixels, pixels[..., :1].repeat(3, axis=2))
    values: list[int] = pixels[..., 0].ravel().tolist()
    return values


def random_bytes(channels: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, channels), np.uint8)


def over_white(colour: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.float64]:
    share = alpha.astype(float) / 255
    return colour * share + 255 * (1 - share)


def near(content: bytes, expected: NDArray[np.float64], by: float = 1) -> None:
    np.testing.assert_allclose(
        decoded(content), np.broadcast_to(expected, (SIDE, SIDE, 3)), atol=by
    )


def row_bytes(values: Sequence[float], letter: str, order: str = "<") -> bytes:
    return struct.pack(f"{order}{len(values)}{letter}", *values)


def test_rgb_stays_as_it_is() -> None:
    pixels = random_bytes(3)
    for format in ("PNG", "BMP", "TIFF"):
        np.testing.assert_array_equal(decoded(saved(Image.fromarray(pixels), format)), pixels)
    lossless = saved(Image.fromarray(pixels), "WEBP", lossless=True)
    np.testing.assert_array_equal(decoded(lossless), pixels)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_laid_on_white(format: str) -> None:
    pixels = random_bytes(4)
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    content = saved(Image.fromarray(pixels, "RGBA"), format, **options)
    near(content, over_white(pixels[..., :3], pixels[..., 3:]))


def test_grey_with_alpha_is_laid_on_white() -> None:
    pixels = random_bytes(2)
    for format in ("PNG", "TIFF"):
        content = saved(Image.fromarray(pixels, "LA"), format)
        near(content, over_white(pixels[..., :1], pixels[..., 1:]))


def palette_png(*chunks: bytes) -> bytes:
    palette = chunk(b"PLTE", b"".join(bytes(colour) for colour in COLOURS))
    return png(SIZE, 2, 3, [b"\x1b"] * SIDE, palette, *chunks)


def test_a_palette_is_looked_up() -> None:
    assert decoded(palette_png())[0].tolist() == [list(colour) for colour in COLOURS]
    assert decoded(palette_png())[3].tolist() == [list(colour) for colour in COLOURS]


@pytest.mark.parametrize("greatest", [255, 65535])
def test_the_colours_of_a_tiff_go_up_to_either_greatest_value(greatest: int) -> None:
    spread = greatest // 255
    colour_map = tuple(spread * COLOURS[i][band] for band in range(3) for i in range(4))
    content = tiff(GREY_TIFF | {258: 2, 262: 3, 320: colour_map}, b"\x1b" * SIDE)
    assert decoded(content)[2].tolist() == [list(colour) for colour in COLOURS]


def test_transparent_colours_of_a_palette_are_laid_on_white() -> None:
    one = decoded(palette_png(chunk(b"tRNS", b"\xff\0")))
    assert one[0].tolist() == [RED, WHITE, [30, 60, 220], [250, 250, 251]]
    half = decoded(palette_png(chunk(b"tRNS", b"\xff\x80\0")))
    assert half[0].tolist() == [RED, [137, 217, 157], WHITE, [250, 250, 251]]


@pytest.mark.parametrize(
    ("depth", "row", "values"),
    [
        (1, b"\x50", [0, 255, 0, 255]),
        (2, b"\x1b", [0, 85, 170, 255]),
        (4, b"\x01\x8f", [0, 17, 136, 255]),
        (8, b"\0\1\x80\xff", [0, 1, 128, 255]),
        (16, row_bytes([0, 257, 32896, 65535], "H", ">"), [0, 1, 128, 255]),
        (16, row_bytes([200, 255, 256, 32768], "H", ">"), [1, 1, 1, 128]),
    ],
)
def test_grey_of_any_depth_is_rescaled(depth: int, row: bytes, values: list[int]) -> None:
    assert grey_of(png(SIZE, depth, 0, [row] * SIDE)) == values * SIDE


@pytest.mark.parametrize(
    ("depth", "row", "key"),
    [
        (1, b"\x50", 1),
        (2, b"\x1b", 2),
        (4, b"\x01\x8f", 8),
        (8, b"\0\1\x80\xff", 0x80),
        (16, row_bytes([0, 257, 32896, 65535], "H", ">"), 32896),
    ],
)
def test_the_transparent_grey_becomes_white(depth: int, row: bytes, key: int) -> None:
    opaque = grey_of(png(SIZE, depth, 0, [row] * SIDE))
    found = grey_of(png(SIZE, depth, 0, [row] * SIDE, chunk(b"tRNS", struct.pack(">H", key))))
    transparent = 255 if depth == 1 else opaque[2]
    assert found == [255 if value == transparent else value for value in opaque]


def test_the_transparent_colour_becomes_white() -> None:
    row = b"".join(bytes(colour) for colour in COLOURS)
    key = chunk(b"tRNS", struct.pack(">3H", *RED))
    found = decoded(png(SIZE, 8, 2, [row] * SIDE, key))
    assert found[2].tolist() == [WHITE, *(list(colour) for colour in COLOURS[1:])]


def test_sixteen_bit_colour_is_rescaled() -> None:
    values = np.random.default_rng(2).integers(0, 65536, (SIDE, SIDE, 3)).astype(">u2")
    near(png(SIZE, 16, 2, [row.tobytes() for row in values]), values / 257)
    near(tiff(GREY_TIFF | {258: 16, 262: 2, 277: 3}, values.tobytes(), ">"), values / 257)


def test_a_transparent_sixteen_bit_colour_becomes_white() -> None:
    row = row_bytes([0x1234, 0x5678, 0x9ABC], "H", ">") + row_bytes([60000] * 9, "H", ">")
    key = chunk(b"tRNS", row[:6])
    assert decoded(png(SIZE, 16, 2, [row] * SIDE, key))[0].tolist() == [WHITE, *[[234] * 3] * 3]


def test_sixteen_bit_grey_with_alpha_is_laid_on_white() -> None:
    row = row_bytes([0, 65535, 32896, 65535, 0, 0, 0, 32896], "H", ">")
    assert grey_of(png(SIZE, 16, 4, [row] * SIDE))[:SIDE] == [0, 128, 255, 127]


def ink(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """CMYK to RGB as if each ink took its share of the light."""
    light = 1 - pixels / 255
    return 255 * light[..., :3] * light[..., 3:]


def test_cmyk_is_multiplied_out() -> None:
    pixels = random_bytes(4)
    near(saved(Image.fromarray(pixels, "CMYK"), "TIFF"), ink(pixels))


@pytest.mark.parametrize("kind", ["CMYK", "YCCK"])
def test_a_jpeg_of_four_inks_is_not_a_negative(kind: str) -> None:
    inks = np.array([20, 120, 200, 40], np.uint8)  # an orange
    stored = inks
    if kind == "YCCK":
        red_green_blue = Image.new("RGB", (1, 1), tuple(inks[:3].tolist()))
        luma_chroma = np.asarray(red_green_blue.convert("YCbCr"))[0, 0]
        stored = np.append(255 - luma_chroma, inks[3])
    image = Image.new("CMYK", SIZE, tuple(stored.tolist()))
    content = saved(image, "JPEG", quality=100, subsampling=0)
    if kind == "YCCK":
        transform = content.index(b"Adobe") + 11
        content = content[:transform] + b"\2" + content[transform + 1 :]
    near(content, ink(inks), by=3)
    assert decoded(content)[0, 0].tolist() == pytest.approx([198, 114, 46], abs=3)


def test_uncompressed_and_compressed_ycbcr_is_converted() -> None:
    pixels = random_bytes(3)
    luma, blue, red = (pixels[..., channel].astype(float) for channel in range(3))
    blue, red = blue - 128, red - 128
    expected = np.stack(
        (luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue), axis=2
    ).clip(0, 255)
    for compression in (None, "tiff_lzw"):
        near(saved(Image.fromarray(pixels, "YCbCr"), "TIFF", compression=compression), expected, 2)


def rgb_of_lab(lightness: float, green_red: float, blue_yellow: float) -> NDArray[np.float64]:
    """By CIE 15 and IEC 61966-2-1, from white point D50 to D65 by Bradford."""
    y = (lightness + 16) / 116
    roots = np.array([y + green_red / 500, y, y - blue_yellow / 200])
    d50 = np.where(roots > 6 / 29, roots**3, 3 * (6 / 29) ** 2 * (roots - 4 / 29))
    d50 *= [0.9642, 1, 0.8251]
    to_srgb = np.array(
        [[3.1339, -1.6169, -0.4906], [-0.9788, 1.9161, 0.0335], [0.0719, -0.2290, 1.4052]]
    )
    linear = (to_srgb @ d50).clip(0, 1)
    return 255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)


@pytest.mark.parametrize("lab", [(100, 0, 0), (0, 0, 0), (50, 0, 0), (50, 60, 30), (70, -40, -20)])
def test_lab_is_converted(lab: tuple[int, int, int]) -> None:
    lightness, *signed = lab
    stored = struct.pack("Bbb", round(lightness * 2.55), *signed)
    near(saved(Image.frombytes("LAB", SIZE, stored * COUNT), "TIFF"), rgb_of_lab(*lab), by=3)


def test_bmp_of_sixteen_bits_and_of_masks() -> None:
    pixel = struct.pack("<H", (31 << 10) | (16 << 5) | 1)
    near(bmp(SIZE, 16, pixel * COUNT), np.array([255, 132, 8.0]))
    masks = (0xFF0000, 0xFF00, 0xFF)
    assert decoded(bmp(SIZE, 32, b"\1\2\3\0" * COUNT, compression=3, masks=masks))[
        0, 0
    ].tolist() == [
        3,
        2,
        1,
    ]


def test_an_alpha_of_a_bmp_that_nobody_filled_in_is_ignored() -> None:
    def with_alpha(alphas: bytes) -> NDArray[np.uint8]:
        pixels = b"".join(bytes((40, 30, 200, alpha)) for alpha in alphas)
        header = struct.pack("<IiiHHIIii2I", 108, *SIZE, 1, 32, 3, len(pixels), 0, 0, 0, 0)
        masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + bytes(52)
        start = 14 + len(header) + len(masks)
        head = b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start)
        return decoded(head + header + masks + pixels)

    assert with_alpha(bytes(COUNT)).tolist() == [[RED] * SIDE] * SIDE
    assert with_alpha(b"\xff\0" * (COUNT // 2))[0].tolist() == [RED, WHITE, RED, WHITE]


def test_run_lengths_of_a_bmp_are_written_out() -> None:
    palette = b"".join(bytes((*colour[::-1], 0)) for colour in COLOURS) + bytes(4 * 252)
    runs = b"\2\0\2\2\0\0" * SIDE + b"\0\1"
    found = decoded(bmp(SIZE, 8, runs, palette=palette, compression=1))
    assert found[1].tolist() == [RED, RED, [30, 60, 220], [30, 60, 220]]


def test_the_transparent_colour_of_a_gif_becomes_white() -> None:
    control = b"!\xf9\4\1\0\0" + b"\0\0"
    indices = bytes((0, 1, 2, 3)) * SIDE
    opaque, transparent = (
        decoded(gif(SIZE, (0, 0, *SIZE), indices, COLOURS, *extensions))[3].tolist()
        for extensions in ((), (control,))
    )
    assert opaque == [list(colour) for colour in COLOURS]
    assert transparent == [WHITE, *opaque[1:]]


def test_what_the_first_frame_of_a_gif_leaves_free_is_white() -> None:
    found = decoded(gif(SIZE, (1, 2, 2, 1), bytes(2), COLOURS))
    assert found[2].tolist() == [WHITE, RED, RED, WHITE]
    assert (np.delete(found, 2, axis=0) == 255).all()


def test_a_frame_beyond_the_canvas_of_a_gif_widens_it() -> None:
    found = decoded(gif((2, 2), (0, 0, *SIZE), bytes(COUNT), COLOURS))
    assert found.tolist() == [[RED] * SIDE] * SIDE


def test_a_text_named_transparency_is_no_transparency() -> None:
    text = chunk(b"tEXt", b"transparency\0" + b"1")
    row = b"".join(bytes(colour) for colour in COLOURS)
    assert decoded(png(SIZE, 8, 2, [row] * SIDE, text))[0].tolist() == [list(c) for c in COLOURS]
