import itertools
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.image_files import tiff
from tests.helpers.odd_images import HEIGHT, WIDTH, picture
from transforms.decoding.decode_image import Preprocessing, decode_opened, open_for_decoding
from transforms.decoding.tiff_samples import SampledTiff
from transforms.failures import ImageError

PIXELS = np.asarray(picture())  # [72, 96, 3]
GREY = np.asarray(picture().convert("L"))
LIMIT = 10**7
Tags = dict[int, int | tuple[int, ...] | bytes]


def decode(content: bytes, side: int = 64) -> NDArray[np.uint8]:
    preprocessing = Preprocessing(side, "squash", LIMIT)
    return decode_opened(open_for_decoding(content, preprocessing), preprocessing).pixels


def whole(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(SampledTiff(content).rgb())


def packed(values: NDArray[np.int64], bits: int) -> bytes:
    """Rows of samples of that many bits, each row from a new byte on."""
    rows = values.reshape(len(values), -1)
    shifts = np.arange(bits - 1, -1, -1)
    single = (rows[..., np.newaxis] >> shifts & 1).reshape(len(rows), -1).astype(np.uint8)
    return np.packbits(single, axis=1).tobytes()


def file(strip: bytes, order: str = "<", **tags: int | tuple[int, ...]) -> bytes:
    names = {"bits": 258, "packed": 259, "colour": 262, "samples": 277, "planar": 284}
    names |= {"predictor": 317, "extra": 338, "kind": 339, "map": 320, "rows": 278}
    base = {256: WIDTH, 257: HEIGHT, 258: 8, 259: 1, 262: 1, 278: HEIGHT}
    return tiff(base | {names[name]: value for name, value in tags.items()}, strip, order)


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 6, 10, 12, 14, 20])
def test_grey_of_any_number_of_bits(bits: int) -> None:
    levels = (GREY.astype(np.int64) * (2**bits - 1) + 127) // 255
    found = whole(file(packed(levels, bits), bits=bits))
    expected = np.round(levels * 255 / (2**bits - 1))
    np.testing.assert_array_equal(found, np.repeat(expected[..., np.newaxis], 3, axis=2))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [16, 32, 64])
def test_colour_of_whole_bytes_in_either_order(bits: int, order: str) -> None:
    wide = PIXELS.astype(np.uint64) * np.uint64((2**bits - 1) // 255)
    content = file(
        wide.astype(f"{order}u{bits // 8}").tobytes(), order, bits=(bits,) * 3, colour=2, samples=3
    )
    np.testing.assert_array_equal(whole(content), PIXELS)


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_floats_of_0_to_1(bits: int) -> None:
    values = (PIXELS / 255).astype(f"<f{bits // 8}")
    content = file(values.tobytes(), bits=(bits,) * 3, colour=2, samples=3, kind=(3, 3, 3))
    assert np.abs(whole(content).astype(int) - PIXELS).max() <= 1


@pytest.mark.parametrize("compression", [8, 32946])
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_differences_are_added_up(bits: int, compression: int) -> None:
    wide = GREY.astype(np.uint64) * np.uint64((2**bits - 1) // 255)
    stored = wide.astype(f"<u{bits // 8}")
    steps = np.diff(stored, axis=1, prepend=np.zeros((HEIGHT, 1), stored.dtype))
    content = file(zlib.compress(steps.tobytes()), bits=bits, packed=compression, predictor=2)
    np.testing.assert_array_equal(whole(content)[..., 0], GREY)


def test_differences_of_floats_are_added_up() -> None:
    values = (GREY / 255).astype(">f4")
    planes = values.view(np.uint8).reshape(HEIGHT, WIDTH, 4).transpose(0, 2, 1)
    row = np.ascontiguousarray(planes).reshape(HEIGHT, -1)
    steps = np.diff(row, axis=1, prepend=np.zeros((HEIGHT, 1), np.uint8))
    content = file(zlib.compress(steps.tobytes()), bits=32, packed=8, predictor=3, kind=3)
    np.testing.assert_array_equal(whole(content)[..., 0], GREY)


def test_transparency_lies_on_white() -> None:
    alpha = np.zeros((HEIGHT, WIDTH), np.int64)
    alpha[:, : WIDTH // 2] = 1023
    levels = np.stack([GREY.astype(np.int64) * 1023 // 255, alpha], axis=2)
    found = whole(file(packed(levels, 10), bits=(10, 10), samples=2, extra=2))
    assert (found[:, WIDTH // 2 :] == 255).all()
    np.testing.assert_allclose(found[:, : WIDTH // 2, 0].astype(int), GREY[:, : WIDTH // 2], atol=1)


def test_white_may_be_zero_and_colours_may_be_a_palette() -> None:
    levels = GREY.astype(np.int64) // 4
    inverted = whole(file(packed(63 - levels, 6), bits=6, colour=0))
    np.testing.assert_array_equal(inverted, whole(file(packed(levels, 6), bits=6)))
    table = [(value * 997) % 65536 for value in range(3 * 64)]
    found = whole(file(packed(levels, 6), bits=6, colour=3, map=tuple(table)))
    assert found[3, 5].tolist() == [table[levels[3, 5] + 64 * band] // 256 for band in range(3)]


def test_cmyk_looks_as_pillow_shows_it() -> None:
    cmyk = np.asarray(picture().convert("CMYK"))
    wide = cmyk.astype(np.int64) * 1023 // 255
    found = whole(file(packed(wide, 10), bits=(10,) * 4, colour=5, samples=4))
    expected = np.asarray(picture().convert("CMYK").convert("RGB"))
    assert np.abs(found.astype(int) - expected).max() <= 2


def test_planes_of_16_bits_that_pillow_mistakes() -> None:
    wide = (PIXELS.astype(np.uint16) * 257).transpose(2, 0, 1)
    size = HEIGHT * WIDTH * 2
    tags: Tags = {
        273: (8, 8 + size, 8 + 2 * size),
        279: (size,) * 3,
        258: (16,) * 3,
        262: 2,
        277: 3,
    }
    base: Tags = {256: WIDTH, 257: HEIGHT, 259: 1, 278: HEIGHT, 284: 2}
    found = decode(tiff({**base, **tags}, wide.astype("<u2").tobytes()))
    expected = picture().resize((64, 64), Image.Resampling.BILINEAR, reducing_gap=2)
    np.testing.assert_array_equal(found, np.asarray(expected))


def test_tiles_are_put_together() -> None:
    side, levels = 32, GREY.astype(np.int64) * 1023 // 255
    padded = np.zeros((96, 96), np.int64)
    padded[:HEIGHT, :WIDTH] = levels
    tiles = [
        packed(padded[top : top + side, left : left + side], 10)
        for top in range(0, 96, side)
        for left in range(0, 96, side)
    ]
    offsets = tuple(itertools.accumulate(map(len, tiles), initial=8))[:-1]
    tags = {256: WIDTH, 257: HEIGHT, 258: 10, 259: 1, 262: 1, 322: side, 323: side}
    content = tiff(tags | {324: offsets, 325: tuple(map(len, tiles))}, b"".join(tiles))
    np.testing.assert_array_equal(whole(content)[..., 0], np.round(levels * 255 / 1023))


@pytest.mark.parametrize(
    "content",
    [
        file(bytes(9000), bits=(8, 10, 8), colour=2, samples=3),
        file(bytes(9000), bits=10, packed=7),
        file(bytes(9000), bits=12, colour=32844),
        file(bytes(9000), bits=70),
    ],
)
def test_what_cannot_be_read_here_either_is_unsupported(content: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        decode(content)
    assert caught.value.error == "unsupported_format"


def test_what_ends_too_early_is_truncated() -> None:
    content = file(bytes(100), bits=12)
    with pytest.raises(ImageError) as caught:
        decode(content)
    assert caught.value.error in ("truncated", "corrupt")
