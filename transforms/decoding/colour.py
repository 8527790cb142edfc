"""From every colour space and depth that Pillow opens to RGB of 8 bits."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import TiffImageFile

from transforms.decoding.tiff_directory import BITS, PHOTOMETRIC, SAMPLE_FORMAT

_DEEP: Final = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_MIN_IS_WHITE, _UNSIGNED = 0, (1, (1,))
_HALF_OF_32_BITS: Final = 2**31
# Values of grey are worked on a few rows at a time: as float64 they need eight times the memory.
_BAND_PIXELS: Final = 1_000_000


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB: high bit depths rescaled, transparency over white, CMYK, LAB and palettes converted."""
    return rgb_conversion(image)(image)


def rgb_conversion(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """What `to_rgb` does to each pixel of `image`, for any part of it."""
    image.load()
    if image.mode in _DEEP:
        return _rescaling(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        if image.format == "BMP" and _is_unfilled(image):
            return partial(Image.Image.convert, mode="RGB")
        return _over_white
    if image.mode == "LAB":
        return _lab_to_rgb
    return _convert


def _convert(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None  # it is None only with inPlace
    return converted


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode not in ("RGBA", "LA"):
        image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    return white


def _is_unfilled(image: Image.Image) -> bool:
    """Whether the fourth byte of each pixel is zero: nobody filled it in, it is no transparency."""
    return image.mode == "RGBA" and image.getextrema()[-1] == (0, 0)


def _rescaling(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """Grey of more than 8 bits to RGB.

    16-bit grey by its full range; integers of 32 bits and floats by the smallest of 0..1 (floats
    only), 0..255 and 0..65535 that holds all their values, by all of 32 bits if they reach into
    their upper half, or else by their own range. NaN is black.
    """
    is_unsigned = _tiff_tag(image, SAMPLE_FORMAT, 1) in _UNSIGNED
    black, white = _black_and_white(image, is_unsigned)
    scale = 255 / ((white - black) or 1)
    transparent = image.info.get("transparency")

    def rescaled(values: NDArray[np.float64]) -> NDArray[np.uint8]:
        scaled = np.nan_to_num(((values - black) * scale).clip(0, 255)).round()
        if transparent is not None:
            scaled[values == transparent] = 255
        return scaled.astype(np.uint8)

    of_16_bits = rescaled(np.arange(2**16, dtype=np.float64))

    def rescale(part: Image.Image) -> Image.Image:
        stored = np.asarray(part)
        if stored.dtype.itemsize == 2:
            return Image.fromarray(of_16_bits[stored]).convert("RGB")
        grey = Image.new("L", part.size)
        for box in _bands(part.size):
            values = _values(part.crop(box), is_unsigned)
            grey.paste(Image.fromarray(rescaled(values)), box)
        return grey.convert("RGB")

    return rescale


def _black_and_white(image: Image.Image, is_unsigned: bool) -> tuple[float, float]:
    """The values that become 0 and 255."""
    black, white = 0.0, 65535.0
    if _tiff_tag(image, BITS) == (12,):
        white = 4095.0
    elif image.mode in ("I", "F"):
        parts = (image.crop(box) for box in _bands(image.size))
        extremes = [_extremes(_values(part, is_unsigned)) for part in parts]
        black, white = min(low for low, _ in extremes), max(high for _, high in extremes)
        usual = [255.0, 65535.0]
        if image.mode == "F":
            usual.insert(0, 1.0)
        elif white >= _HALF_OF_32_BITS:
            usual.append(2.0**32 - 1)
        holding = [top for top in usual if black >= 0 and white <= top]
        black, white = (0.0, holding[0]) if holding else (black, white)
    return (white, black) if _tiff_tag(image, PHOTOMETRIC) == _MIN_IS_WHITE else (black, white)


def _extremes(values: NDArray[np.float64]) -> tuple[float, float]:
    """Least and greatest finite value; 0 and 0 if there is none."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _values(part: Image.Image, is_unsigned: bool) -> NDArray[np.float64]:
    stored = np.asarray(part)
    if stored.dtype == np.int32 and is_unsigned:
        stored = stored.view(np.uint32)  # Pillow has no unsigned mode and lets them wrap around
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
        return stored.astype(np.float64)


def _bands(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of whole rows that cover `size`."""
    width, height = size
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(height, top + rows)


def _tiff_tag(image: Image.Image, tag: int, default: object = None) -> object:
    return image.tag_v2.get(tag, default) if isinstance(image, TiffImageFile) else None
