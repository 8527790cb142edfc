"""Grey of other than 8 unsigned bits to grey of 8: which value is black, and which is white.

| samples | black | white |
|---|---|---|
| 12 bits, packed | 0 | 4095 |
| unsigned, 16 or 32 bits | 0 | the greatest of 8, 10, 12, 14, 16, 24 or 32 bits |
| signed, 8, 16 or 32 bits | 0 | the same as far as the type has it, or the type's greatest |
| signed, 8, 16 or 32 bits | the type's least | the type's greatest |
| floats | 0 | 1, 255 or 65535 |
| floats | -1 | 1 |
| whatever fits none of these | what 2 % of the samples lie below | what 2 % lie above |

The first range counts that holds all samples but one in a thousand, of floats with a tenth to spare
on either side, and of which they fill a quarter: from 0 on, or where it goes below 0, from the
least to the greatest. A TIFF's tags of least and greatest sample are tried before. Samples do not
count that hold no data: of the tag GDAL_NODATA, which become black; infinite ones and NaN, which is
black; and, where no range fits with them, a least or greatest value that is farther from all others
than those are apart. Where the middle half of the samples would come out as one tone although they
differ, nobody can tell what they mean.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from transforms.decoding.files.stripped import SampleTags
from transforms.decoding.files.tiff_directory import BITS, PHOTOMETRIC, SAMPLE_FORMAT
from transforms.failures import ImageError

Values = NDArray[np.float64]

_MODES: Final = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_MIN_IS_WHITE, _SIGNED = 0, 2
_USUAL_BITS: Final = (8, 10, 12, 14, 16, 24)
_SPARE_OF_FLOATS: Final = 0.1
_LEAST_FILLED: Final = 1 / 4
_STRAY: Final = 0.001
_CUT: Final = 0.02  # as QGIS stretches what it shows
_LEAST_TONES: Final = 2
# So many samples, spread evenly, tell the range of any image.
_MOST_SAMPLES: Final = 250_000
# Values are worked on a few rows at a time: as float64 they need eight times the memory.
BAND_PIXELS: Final = 1_000_000


class _Range(NamedTuple):
    """The values that become 0 and 255."""

    black: float
    white: float
    spare: float = 0.0

    def fits(self, ordered: Values) -> bool:
        """Whether all values but the stray ones lie within, and fill enough of it."""
        stray = int(len(ordered) * _STRAY)
        low, high = ordered[stray], ordered[-1 - stray]
        length = self.white - self.black
        spare = length * self.spare
        filled = high - (low if self.black < 0 else self.black)
        is_within = self.black - spare <= low and high <= self.white + spare
        return bool(is_within and (filled >= length * _LEAST_FILLED or low == high))


_OF_FLOATS: Final = (
    *(_Range(0.0, white, _SPARE_OF_FLOATS) for white in (1.0, 255.0, 65535.0)),
    _Range(-1.0, 1.0, _SPARE_OF_FLOATS),
)


def is_deep_grey(image: Image.Image) -> bool:
    """Whether Pillow has more than a byte for each sample, or one that it takes for unsigned."""
    return image.mode in _MODES or (image.mode == "L" and _is_signed(image))


def scaling(image: Image.Image, tags: SampleTags) -> Callable[[Image.Image], Image.Image]:
    """What makes 8-bit grey of `image`, which is loaded, and of any part of it.

    Raises:
        ImageError: unsupported_format, if no range can be told.
    """
    is_signed = _is_signed(image)
    missing = None if tags.missing is None else _as_stored(image, tags.missing)
    black, white, _ = _black_and_white(image, tags, missing)
    scale = 255 / ((white - black) or 1)
    transparent = image.info.get("transparency")

    def scaled(values: Values) -> NDArray[np.uint8]:
        grey = np.nan_to_num(((values - black) * scale).clip(0, 255)).round()
        if transparent is not None:
            grey[values == transparent] = 255
        if missing is not None:
            grey[values == missing] = 0
        return grey.astype(np.uint8)

    of_16_bits = scaled(np.arange(2**16, dtype=np.float64))

    def scale_part(part: Image.Image) -> Image.Image:
        stored = np.asarray(part)
        if stored.dtype.itemsize == 2:
            return Image.fromarray(of_16_bits[stored])
        grey = Image.new("L", part.size)
        for box in _bands(part.size):
            grey.paste(Image.fromarray(scaled(_values(part.crop(box), is_signed))), box)
        return grey

    return scale_part


def _black_and_white(image: Image.Image, tags: SampleTags, missing: float | None) -> _Range:
    if _tiff_tag(image, BITS) == (12,):
        found = _Range(0.0, 4095.0)
    else:
        usual = _OF_FLOATS if image.mode == "F" else _of_integers(image)
        told = _Range(tags.lowest or 0.0, np.nan if tags.highest is None else tags.highest)
        data = _data(image, missing)
        found = told if len(data) and told.fits(data) else _range_of(data, usual)
    is_negative = _tiff_tag(image, PHOTOMETRIC) == _MIN_IS_WHITE
    return _Range(found.white, found.black) if is_negative else found


def _of_integers(image: Image.Image) -> tuple[_Range, ...]:
    """The ranges of the type that the samples have, the least first."""
    bits = {"L": 8, "I": 32}.get(image.mode, 16)
    if _tiff_tag(image, BITS) == (16,):
        bits = 16  # signed, of which Pillow makes 32
    is_signed = _is_signed(image)
    least, greatest = (
        (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if is_signed else (0.0, 2.0**bits - 1)
    )
    whites = (2.0**usual - 1 for usual in _USUAL_BITS)
    ranges = [_Range(0.0, white) for white in whites if white < greatest]
    return (*ranges, _Range(0.0, greatest), _Range(least, greatest))


def _range_of(ordered: Values, usual: Sequence[_Range]) -> _Range:
    """By the rules above for these values, in ascending order."""
    if not len(ordered):
        return usual[0]
    from_zero = [one for one in usual if one.black >= 0]
    for data, ranges in zip(_without_fill(ordered), (from_zero, usual, usual, usual), strict=True):
        found = next((one for one in ranges if one.fits(data)), None)
        if found:
            return found
    last = len(data) - 1
    cut, stray = int(len(data) * _CUT), int(len(data) * _STRAY)
    black, white = float(data[cut]), float(data[last - cut])
    low, high = (float(data[round(last * share)]) for share in (0.25, 0.75))
    if high > low and (high - low) * 255 < _LEAST_TONES * (white - black):
        what = f"samples of {data[stray]:g} to {data[last - stray]:g}"
        most = f"half of them {low:g} to {high:g}"
        raise ImageError(
            "unsupported_format",
            f"{what}, {most}: which are black and which white is not told; "
            "re-save it with 8 or 16 bits",
        )
    return _Range(black, white)


def _without_fill(ordered: Values) -> Iterator[Values]:
    """The values, then without a least, a greatest, and both, that are far from all others.

    A range that goes below 0 is not for the first of them: the least may be the type's least.
    """
    yield ordered
    yield (above := _without_least(ordered))
    yield np.flip(-_without_least(np.flip(-ordered)))
    yield np.flip(-_without_least(np.flip(-above)))


def _without_least(ordered: Values) -> Values:
    others = ordered[np.searchsorted(ordered, ordered[0], side="right") :]
    if not len(others):
        return ordered
    stray = int(len(others) * _STRAY)
    apart = others[-1 - stray] - others[stray]
    return others if 0 < apart < others[0] - ordered[0] else ordered


def _data(image: Image.Image, missing: float | None) -> Values:
    """The samples that hold data, of a large image some of them, in ascending order."""
    step = max(1, -(-image.width * image.height // _MOST_SAMPLES)) ** 0.5
    size = max(1, round(image.width / step)), max(1, round(image.height / step))
    some = image.resize(size, Image.Resampling.NEAREST)
    values = _values(some, _is_signed(image)).ravel()
    return np.sort(values[np.isfinite(values) & (values != missing)])


def _values(part: Image.Image, is_signed: bool) -> Values:
    stored = np.asarray(part)
    if stored.dtype == np.uint8 and is_signed:
        stored = stored.view(np.int8)  # Pillow has no signed mode of a byte
    elif stored.dtype == np.int32 and not is_signed:
        stored = stored.view(np.uint32)  # nor an unsigned one of four
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
        return stored.astype(np.float64)


def _as_stored(image: Image.Image, value: float) -> float:
    """The number that a float of 32 bits has for `value`."""
    with np.errstate(over="ignore"):
        return float(np.float32(value)) if image.mode == "F" else value


def _bands(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of whole rows that cover `size`."""
    width, height = size
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(height, top + rows)


def _is_signed(image: Image.Image) -> bool:
    return _tiff_tag(image, SAMPLE_FORMAT) in (_SIGNED, (_SIGNED,))


def _tiff_tag(image: Image.Image, tag: int) -> object:
    return image.tag_v2.get(tag) if isinstance(image, TiffImageFile) else None
