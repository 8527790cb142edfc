"""Which value is black and which white, by exact values for each type of sample."""

import struct
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from tests.helpers.image_files import png, tiff
from tests.helpers.odd_images import content_of
from transforms.decode_images import Preprocessing, decode_image
from transforms.failures import ImageError

Tags = dict[int, int | tuple[int, ...] | bytes]
NAN, INF, LARGEST = float("nan"), float("inf"), 3.4028235e38
# TIFF's SampleFormat by NumPy's kind of type.
FORMATS = {"u": 1, "i": 2, "f": 3}


def grey_tiff(values: NDArray[np.generic], tags: Tags | None = None, tail: bytes = b"") -> bytes:
    """`values` [rows, columns] with further tags; `tail` lies behind the pixels."""
    stored = values.tobytes()
    order = ">" if values.dtype.byteorder == ">" else "<"
    base: Tags = {256: values.shape[1], 257: values.shape[0], 258: values.dtype.itemsize * 8}
    base |= {259: 1, 262: 1, 279: len(stored), 339: FORMATS[values.dtype.kind]}
    return tiff(base | (tags or {}), stored + tail, order)


def square(values: ArrayLike, dtype: str) -> NDArray[np.generic]:
    """As many rows of the values as there are columns."""
    row = np.array(values).astype(dtype)
    return np.tile(row, (len(row), 1))


def greys(content: bytes, side: int) -> list[int]:
    """The first row, after a check that red, green and blue are the same."""
    pixels = decode_image(content, Preprocessing(side, "crop", 10**7)).pixels
    np.testing.assert_array_equal(pixels, pixels[..., :1].repeat(3, axis=2))
    row: list[int] = pixels[0, :, 0].tolist()
    return row


def refused(content: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(content, Preprocessing(8, "crop", 10**7))
    assert caught.value.error == "unsupported_format"
    return str(caught.value)


def of_bits(bits: int) -> list[int]:
    return [0, 2**bits // 4, 2**bits // 2, 2**bits - 1]


EVEN = [0, 64, 128, 255]


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        # Unsigned: the greatest of 8, 10, 12, 14, 16, 24, 32 bits.
        *[("<u2", of_bits(bits), EVEN) for bits in (8, 10, 12, 14, 16)],
        *[(">u2", of_bits(bits), EVEN) for bits in (8, 12, 16)],
        *[("<u4", of_bits(bits), EVEN) for bits in (8, 10, 12, 14, 16, 24, 32)],
        ("<u2", [0, 255, 257, 30000], [0, 1, 1, 117]),
        ("<u2", [100, 200, 300, 256], [25, 50, 75, 64]),
        ("<u4", [0, 51, 204, 255], [0, 51, 204, 255]),
        # Signed and never below 0: the same, as far as the type has it.
        *[("<i2", of_bits(bits), EVEN) for bits in (8, 10, 12, 14, 15)],
        *[("<i4", of_bits(bits), EVEN) for bits in (8, 10, 12, 14, 16, 24, 31)],
        ("i1", of_bits(7), [0, 64, 129, 255]),
        # Signed: from the least to the greatest of the type.
        ("i1", [-128, -64, 0, 127], EVEN),
        ("i1", [-128, -1, 1, 127], [0, 127, 129, 255]),
        ("i1", [-64, -1, 1, 63], [64, 127, 129, 191]),
        ("<i2", [-32768, -16384, 0, 32767], EVEN),
        ("<i4", [-(2**31), -(2**30), 0, 2**31 - 1], EVEN),
        # Floats: 0 to 1, 255 or 65535, -1 to 1.
        ("<f4", [0, 0.2, 0.5, 1], [0, 51, 128, 255]),
        (">f4", [0, 0.2, 0.5, 1], [0, 51, 128, 255]),
        ("<f4", [0, 51, 204, 255], [0, 51, 204, 255]),
        ("<f4", [0, 257, 32896, 65535], [0, 1, 128, 255]),
        ("<f4", [-1, -0.5, 0, 1], EVEN),
        ("<f4", [-1, -0.5, 0, 0.5], [0, 64, 128, 191]),
        ("<f4", [-0.05, 0.2, 0.5, 1.08], [0, 51, 128, 255]),
        ("<f4", [0, 51, 204, 255.4], [0, 51, 204, 255]),
        # None of these: their own range.
        ("<i4", [-1000, 0, 1000, 3000], EVEN),
        ("<u4", [100_000, 200_000, 300_000, 500_000], EVEN),
        ("<u2", [0, 10, 20, 40], EVEN),
        ("<f4", [-1, 0, 1, 3], EVEN),
        ("<f4", [500, 1000, 1500, 2500], EVEN),
        ("<f4", [0, 0.01, 0.02, 0.04], EVEN),
        # All alike.
        ("<i4", [7] * 4, [7] * 4),
        ("<u2", [0] * 4, [0] * 4),
        ("<f4", [-5] * 4, [0] * 4),
        # No data at all, or in part.
        ("<f4", [NAN] * 4, [0] * 4),
        ("<f4", [NAN, 0, 1, 0.2], [0, 0, 255, 51]),
        ("<f4", [INF, -INF, 0.2, 1], [255, 0, 51, 255]),
        ("<f4", [0, 0.2, 1, LARGEST], [0, 51, 255, 255]),
        ("<f4", [-LARGEST, 0, 0.2, 1], [0, 0, 51, 255]),
        ("<f4", [-9999, 0, 0.2, 1], [0, 0, 51, 255]),
        ("<f4", [-999, 51, 204, 255], [0, 51, 204, 255]),
        ("<f4", [-9999, 500, 1000, 1500], [0, 0, 128, 255]),
        ("<f4", [500, 1000, 1500, 1e20], [0, 128, 255, 255]),
        ("<i2", [-9999, 0, 1024, 4095], [0, 0, 64, 255]),
        ("<i2", [-32768, 0, 1024, 4095], [0, 0, 64, 255]),
        ("<i4", [-(2**31), 0, 51, 255], [0, 0, 51, 255]),
    ],
)
def test_values_become_grey_by_the_range_of_their_type(
    dtype: str, values: list[float], expected: list[int]
) -> None:
    assert greys(grey_tiff(square(values, dtype)), 4) == expected


@pytest.mark.parametrize(
    ("dtype", "values", "stray"),
    [
        ("<f4", (0, 1), 1.5),
        ("<f4", (0, 255), 400),
        ("<f4", (0, 1), LARGEST),
        ("<f4", (0, 1), -9999),
        ("<i4", (0, 255), 256),
        ("<i4", (0, 255), 2**31 - 1),
        ("<u4", (0, 255), 256),
        ("<u2", (0, 4095), 65535),
        ("<i2", (0, 4095), -32768),
    ],
)
def test_one_sample_in_a_thousand_does_not_choose_the_range(
    dtype: str, values: tuple[int, int], stray: float
) -> None:
    ramp = square(np.linspace(*values, 40), dtype)  # 1,600 samples
    expected = greys(grey_tiff(ramp), 40)
    assert expected[0] == 0
    assert expected[-1] == 255
    ramp[-1, 20] = stray
    assert greys(grey_tiff(ramp), 40) == expected
    ramp[-2:, :20] = stray
    assert greys(grey_tiff(ramp), 40) != expected or stray in (-9999, -32768, LARGEST, 2**31 - 1)


def test_an_own_range_leaves_out_two_percent_on_either_side() -> None:
    steps = np.linspace(-100, 4850, 100)  # each of them a hundred times
    black, white = steps[2], steps[97]
    expected = ((steps - black) * 255 / (white - black)).clip(0, 255).round()
    assert greys(grey_tiff(square(steps, "<f4")), 100) == expected.tolist()


def test_a_range_that_shows_half_of_the_samples_as_one_tone_is_refused() -> None:
    """Some at a million, some at minus a million, of different values, and the rest around 0."""
    values = np.linspace(-1, 1, 10_000).astype("<f4").reshape(100, 100)
    values[:5] = np.linspace(-1e6, -9e5, 500).reshape(5, 100)
    values[-5:] = np.linspace(9e5, 1e6, 500).reshape(5, 100)
    assert refused(grey_tiff(values)) == (
        "samples of -997996 to 997996, half of them -0.49995 to 0.49995: which are black and which "
        "white is not told; re-save it with 8 or 16 bits"
    )


def text(value: str, at: int) -> bytes:
    """The entry of a text that lies at an offset of the file, if it is not short."""
    if len(value) < 4:
        return struct.pack("<HI4s", 2, len(value) + 1, value.encode())
    return struct.pack("<HII", 2, len(value) + 1, at)


@pytest.mark.parametrize(
    ("dtype", "values", "no_data", "expected"),
    [
        ("<u2", [0, 1024, 4095, 65535], "65535", [0, 64, 255, 0]),
        ("<u2", [500, 1024, 2048, 4095], "500", [0, 64, 128, 255]),
        ("<f4", [-3.4028234663852886e38, 0, 0.2, 1], "-3.4028234663852886e+38", [0, 0, 51, 255]),
        ("<f4", [0.1, 0.2, 0.5, 1], "0.1", [0, 51, 128, 255]),
        ("<f4", [-1, 51, 204, 255], "-1", [0, 51, 204, 255]),
        ("<i2", [-1, 1024, 2048, 4095], " -1 ", [0, 64, 128, 255]),
        ("<f4", [0.5, 0.2, 0.5, 1], "nonsense", [128, 51, 128, 255]),
        ("<f4", [0.5, 0.2, 0.5, 1], "nan", [128, 51, 128, 255]),
    ],
)
def test_samples_of_no_data_are_black_and_choose_no_range(
    dtype: str, values: list[float], no_data: str, expected: list[int]
) -> None:
    pixels = square(values, dtype)
    content = grey_tiff(pixels, {42113: text(no_data, 8 + pixels.nbytes)}, no_data.encode() + b"\0")
    assert greys(content, 4) == expected


def real(kind: int, value: float) -> bytes:
    """The entry of one float (11) or signed integer (9)."""
    return struct.pack("<HI" + {11: "f", 9: "i"}[kind], kind, 1, value)


@pytest.mark.parametrize(
    ("dtype", "values", "tags", "expected"),
    [
        ("<u2", [0, 250, 500, 1000], {281: 1000}, EVEN),
        ("<u2", [100, 325, 550, 1000], {280: 100, 281: 1000}, EVEN),
        ("<u2", of_bits(12), {281: 65535}, EVEN),  # which they do not reach a quarter of
        ("<u2", of_bits(12), {281: 1000}, EVEN),  # and go beyond this one
        ("<u2", of_bits(12), {280: 0}, EVEN),
        ("<f4", [0, 0.5, 1, 2], {341: real(11, 2.0)}, EVEN),
        ("<f4", [-2, -1, 0, 2], {340: real(11, -2.0), 341: real(11, 2.0)}, EVEN),
        ("<i2", [-128, -64, 0, 128], {340: real(9, -128), 341: real(9, 128)}, EVEN),
        ("<f4", [0, 0.2, 0.5, 1], {341: real(11, NAN)}, [0, 51, 128, 255]),
        ("<f4", [0, 0.2, 0.5, 1], {341: real(11, INF)}, [0, 51, 128, 255]),
        ("<f4", [0, 0.2, 0.5, 1], {340: real(11, 1.0), 341: real(11, 1.0)}, [0, 51, 128, 255]),
    ],
)
def test_the_tags_of_least_and_greatest_sample_count_where_they_fit(
    dtype: str, values: list[float], tags: Tags, expected: list[int]
) -> None:
    assert greys(grey_tiff(square(values, dtype), tags), 4) == expected


def test_twelve_packed_bits_are_always_all_in_use() -> None:
    pairs = b"\x00\x0f\xff" + b"\x80\x00\x10"  # 0, 4095, 2048, 16
    plain: Tags = {256: 4, 257: 4, 258: 12, 259: 1, 262: 1}
    assert greys(tiff(plain, pairs * 4), 4) == [0, 255, 128, 1]
    assert greys(tiff(plain, b"\x01\x00\x10" * 8), 4) == [1] * 4


def test_thirty_two_bits_without_a_sample_format_are_unsigned() -> None:
    stored = struct.pack("<4I", *of_bits(32)) * 4
    assert greys(tiff({256: 4, 257: 4, 258: 32, 259: 1, 262: 1}, stored), 4) == EVEN


@pytest.mark.parametrize(("dtype", "values"), [("<u2", of_bits(16)), ("<u2", of_bits(12))])
def test_white_may_be_zero(dtype: str, values: Sequence[float]) -> None:
    turned = [255 - grey for grey in EVEN]
    assert greys(grey_tiff(square(values, dtype), {262: 0}), 4) == pytest.approx(turned, abs=1)


def test_a_signalling_nan_is_black_and_no_warning() -> None:
    row = b"\1\0\x80\x7f" + struct.pack("<3f", 0.0, 1.0, 0.2)
    plain: Tags = {256: 4, 257: 4, 258: 32, 259: 1, 262: 1, 339: 3}
    assert greys(tiff(plain, row * 4), 4) == [0, 0, 255, 51]


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_png_of_16_bits_uses_as_many_as_its_values_have(bits: int) -> None:
    rows = [struct.pack(">4H", *of_bits(bits))] * 4
    assert greys(png((4, 4), 16, 0, rows), 4) == EVEN


def test_a_large_image_has_the_range_of_some_of_its_samples() -> None:
    ramp = np.tile(np.linspace(0, 1, 1500), (1200, 1))
    values = (ramp * 4095).astype("<u2")
    values[600, 700] = 65535
    found, expected = (
        decode_image(content, Preprocessing(4, "squash", 10**7)).pixels.astype(int)
        for content in (grey_tiff(values), grey_tiff((ramp * 255).astype("u1")))
    )
    np.testing.assert_allclose(found, expected, atol=1)


def test_many_rows_are_rescaled_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    content = content_of("thirty_two_bit.tif")
    at_once = greys(content, 64)
    monkeypatch.setattr("transforms.decoding.pixels.deep_grey.BAND_PIXELS", 1000)
    assert greys(content, 64) == at_once
