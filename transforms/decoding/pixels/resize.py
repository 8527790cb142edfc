"""From a picture of any size to the square that a network takes, a band of rows at a time."""

import math
from collections.abc import Callable
from typing import Final

from PIL import Image

Box = tuple[int, int, int, int]

# Large downscales first average whole blocks of pixels, as long as twice the target remains.
_REDUCING_GAP: Final = 2.0
# What the triangle of Pillow's bilinear filter reaches beyond a pixel's own half, in target pixels.
_REACH: Final = 0.5
BAND_PIXELS: Final = 2_000_000


def resize(image: Image.Image, side: int, box: Box) -> Image.Image:
    """The part of `image` within `box`, [side, side]."""
    size = (side, side)
    return image.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=_REDUCING_GAP)


def resize_in_bands(
    rgb: Callable[[Box], Image.Image], size: tuple[int, int], side: int, box: Box
) -> Image.Image:
    """What `resize` gives for an image of `size`, of which `rgb` gives any part.

    Whole copies of an image of a hundred megapixels, one for each step of the conversion, would
    take gigabytes; a band of it takes a few megabytes.
    """
    left, top, right, bottom = box
    scales = (right - left) / side, (bottom - top) / side
    columns, rows = (int(scale / _REDUCING_GAP) or 1 for scale in scales)
    reach_x, reach_y = (scale * _REACH for scale in scales)
    x0, x1 = max(0, int(left - reach_x)), min(size[0], math.ceil(right + reach_x))
    y0, y1 = max(0, int(top - reach_y)), min(size[1], math.ceil(bottom + reach_y))
    reduced = Image.new("RGB", (math.ceil((x1 - x0) / columns), math.ceil((y1 - y0) / rows)))
    step = max(1, BAND_PIXELS // ((x1 - x0) * rows)) * rows
    for y in range(y0, y1, step):
        band = rgb((x0, y, x1, min(y1, y + step))).reduce((columns, rows))
        reduced.paste(band, (0, (y - y0) // rows))
    inner = (left - x0) / columns, (top - y0) / rows, (right - x0) / columns, (bottom - y0) / rows
    return reduced.resize((side, side), Image.Resampling.BILINEAR, box=inner)
