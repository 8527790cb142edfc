"""Colour of 16 bits of which fewer are in use, by exact values."""

import itertools
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.image_files import chunk, png, tiff
from transforms.decode_images import Preprocessing, decode_image
from transforms.decoding.pixels import deep_colour
from transforms.failures import ImageError

SIDE = 8
Samples = NDArray[np.uint16]


def samples(bits: int, channels: int = 3) -> Samples:
    """[8, 8, channels], of which one has all the bits set."""
    dice = np.random.default_rng(bits)
    found = dice.integers(0, 2**bits, (SIDE, SIDE, channels), np.uint16)
    found[3, 3] = 2**bits - 1
    return found


def as_png(values: Samples, *chunks: bytes) -> bytes:
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[values.shape[2]]
    rows = [row.astype(">u2").tobytes() for row in values]
    return png((values.shape[1], values.shape[0]), 16, colour, rows, *chunks)


def as_tiff(values: Samples, order: str = "<", is_packed: bool = False, colour: int = 2) -> bytes:
    channels = values.shape[2]
    stored = values.astype(f"{order}u2").tobytes()
    tags: dict[int, int | tuple[int, ...] | bytes] = {256: SIDE, 257: SIDE, 262: colour}
    tags |= {258: (16,) * channels, 259: 8 if is_packed else 1, 277: channels}
    if channels == 4 and colour == 2:
        tags[338] = 2
    return tiff(tags, zlib.compress(stored) if is_packed else stored, order)


def decoded(content: bytes) -> NDArray[np.int64]:
    pixels = decode_image(content, Preprocessing(SIDE, "crop", 10**6)).pixels
    return pixels.astype(np.int64)


def refused(content: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decoded(content)
    assert caught.value.error == "unsupported_format"
    return str(caught.value)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_bits_in_use_fill_all_tones(bits: int) -> None:
    values = samples(bits)
    expected = values >> (bits - 8)
    for content in (
        as_png(values),
        as_tiff(values),
        as_tiff(values, ">"),
        as_tiff(values, is_packed=True),
        as_tiff(values, ">", is_packed=True),
    ):
        np.testing.assert_array_equal(decoded(content), expected)


def test_a_number_of_bits_that_nobody_uses_counts_as_the_next() -> None:
    np.testing.assert_array_equal(decoded(as_png(samples(11))), samples(11) >> 4)
    np.testing.assert_array_equal(decoded(as_png(samples(15))), samples(15) >> 8)


def test_cmyk_is_spread_before_it_is_converted() -> None:
    found = decoded(as_tiff(samples(12, 4), colour=5))
    full = decoded(as_tiff((samples(12, 4) * 16).astype(np.uint16), colour=5))
    np.testing.assert_array_equal(found, full)


def test_one_sample_in_a_thousand_does_not_choose_the_bits() -> None:
    values = np.tile(samples(12), (8, 8, 1))  # 12,288 samples
    values[1, 1] = 65535
    assert decoded_at(values, 64)[5, 5].tolist() == (values[5, 5] >> 4).tolist()
    assert decoded_at(values, 64)[1, 1].tolist() == [255] * 3
    values[0, :5] = 65535
    assert decoded_at(values, 64)[5, 5].tolist() == (values[5, 5] >> 8).tolist()


def decoded_at(values: Samples, side: int) -> NDArray[np.uint8]:
    return decode_image(as_png(values), Preprocessing(side, "crop", 10**6)).pixels


@pytest.mark.parametrize("opaque", [4095, 65535])
def test_transparency_that_is_none_does_not_choose_the_bits(opaque: int) -> None:
    values = samples(12, 4)
    values[..., 3] = opaque
    for content in (as_png(values), as_tiff(values)):
        np.testing.assert_array_equal(decoded(content), values[..., :3] >> 4)


def test_transparency_of_16_bits_tells_that_dark_colours_are_dark() -> None:
    values = samples(12, 4)
    values[..., 3] = np.arange(SIDE) * 65535 // (SIDE - 1)
    np.testing.assert_array_equal(decoded(as_png(values))[:, -1], values[:, -1, :3] >> 8)
    assert (decoded(as_png(values))[:, 0] == 255).all()


def test_what_pillow_cannot_give_the_low_bytes_of_is_unsupported() -> None:
    message = "PNG that uses 12 of its 16 bits a sample is not decoded; re-save it with 8 or 16"
    assert refused(as_png(samples(12, 2))) == message
    assert decoded(as_png(samples(16, 2))).shape == (SIDE, SIDE, 3)
    drawing = samples(16, 2)
    drawing[..., 0] = 0
    alpha = drawing[..., 1] >> 8
    np.testing.assert_allclose(decoded(as_png(drawing))[..., 0], 255 - alpha, atol=1)
    drawing[..., 1] = 65535
    assert (decoded(as_png(drawing)) == 0).all()


@pytest.mark.parametrize("bits", [12, 16])
def test_planes_of_few_bits_are_unsupported(bits: int) -> None:
    values = samples(bits)
    planes = [zlib.compress(values[..., band].astype("<u2").tobytes()) for band in range(3)]
    offsets = tuple(itertools.accumulate(map(len, planes[:2]), initial=8))
    tags: dict[int, int | tuple[int, ...] | bytes] = {256: SIDE, 257: SIDE, 258: (16,) * 3}
    tags |= {259: 8, 262: 2, 273: offsets, 277: 3, 279: tuple(map(len, planes)), 284: 2}
    content = tiff(tags, b"".join(planes))
    if bits == 16:
        np.testing.assert_array_equal(decoded(content), values >> 8)
    else:
        assert refused(content).startswith("TIFF that uses 12 of its 16 bits a sample")


def test_a_larger_image_of_few_bits_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    content = as_png(samples(12))
    monkeypatch.setattr(deep_colour, "_MOST_PIXELS", SIDE * SIDE - 1)
    assert "uses 12 of its 16 bits" in refused(content)
    assert decoded(as_png(samples(16))).shape == (SIDE, SIDE, 3)


def test_a_transparent_colour_of_all_bits_is_still_laid_on_white() -> None:
    values = samples(16)
    key = chunk(b"tRNS", values[2, 5].astype(">u2").tobytes())
    found = decoded(as_png(values, key))
    assert found[2, 5].tolist() == [255, 255, 255]
    assert found[3, 4].tolist() == (values[3, 4] >> 8).tolist()
