"""Colour of 16 bits a sample of which a file uses fewer: the high bytes alone are nearly black.

White is the greatest value of 8, 10, 12, 14 or 16 bits: the least that holds all samples but one in
a thousand. Transparency is a sample like the others, unless all is opaque.
"""

import re
import sys
from collections.abc import Callable
from typing import Final

from PIL import Image, ImageChops
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from transforms.decoding.files.tiff_directory import PLANAR
from transforms.failures import ImageError

# Both bytes of a larger image, and the pictures made of them, take too much memory.
_MOST_PIXELS: Final = 20_000_000
_EXTRA_BYTES: Final = 8
# The bits in use by the greatest high byte; 16 above that.
_BITS: Final = {0: 8, 3: 10, 15: 12, 63: 14}
_STRAY: Final = 0.001
_LEVELS: Final = 256
_RAW_MODE: Final = re.compile(r"(.+);16([LBN])")
# Pillow gives the low bytes when it takes a sample for one of the other byte order.
_OTHER_ORDER: Final = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
_SWAPPABLE: Final = ("RGB", "RGBX", "RGBA", "CMYK")
_IN_PLANES: Final = 2


def is_deep_colour(image: ImageFile) -> bool:
    """Whether Pillow will drop 8 bits of each sample of `image`, which is not loaded."""
    return image.mode in ("RGB", "RGBA", "CMYK") and ";16" in _raw_mode(image)


def extra_memory(image: ImageFile) -> int:
    """Bytes that `in_eight_bits` takes."""
    pixels = image.width * image.height
    return pixels * _EXTRA_BYTES if is_deep_colour(image) and pixels <= _MOST_PIXELS else 0


def in_eight_bits(image: ImageFile, reopen: Callable[[], ImageFile]) -> Image.Image:
    """`image`, or where it uses fewer than 15 bits, the picture in which these fill all 8.

    `reopen` gives an image that `is_deep_colour` once more, not loaded.

    Raises:
        ImageError: unsupported_format, where Pillow cannot give the low bytes.
    """
    channels, order = _split(_raw_mode(image))
    image.load()
    greatest = _greatest(image)
    bits = next((bits for most, bits in _BITS.items() if greatest <= most), 16)
    is_in_planes = isinstance(image, TiffImageFile) and image.tag_v2.get(PLANAR) == _IN_PLANES
    can_swap = channels in _SWAPPABLE and not is_in_planes
    if bits == 16 or (greatest == 0 and not can_swap):
        return image
    if not can_swap or image.width * image.height > _MOST_PIXELS:
        what = f"{image.format} that uses {bits} of its 16 bits a sample"
        raise ImageError("unsupported_format", f"{what} is not decoded; re-save it with 8 or 16")
    low = reopen()
    _set_raw_mode(low, f"{channels};16{_OTHER_ORDER[order]}")
    low.load()
    bands = len(image.getbands())
    from_high = [min(level << (16 - bits), _LEVELS - 1) for level in range(_LEVELS)]
    from_low = [level >> (bits - 8) for level in range(_LEVELS)]
    return ImageChops.add(image.point(from_high * bands), low.point(from_low * bands))


def _greatest(image: Image.Image) -> int:
    """The greatest level but for stray ones, and for a transparency that is none."""
    counts = image.histogram()
    if image.mode == "RGBA" and image.getextrema()[-1] == (_LEVELS - 1, _LEVELS - 1):
        counts = counts[: 3 * _LEVELS]
    left = int(sum(counts) * _STRAY)
    for level in range(_LEVELS - 1, 0, -1):
        left -= sum(counts[level::_LEVELS])
        if left < 0:
            return level
    return 0


def _raw_mode(image: ImageFile) -> str:
    """How the samples are stored, in Pillow's words; WebP has none."""
    args = image.tile[0].args if image.tile else ""
    return args[0] if isinstance(args, tuple) else args or ""


def _split(raw_mode: str) -> tuple[str, str]:
    match = _RAW_MODE.match(raw_mode)
    assert match is not None
    return match[1], match[2]


def _set_raw_mode(image: ImageFile, raw_mode: str) -> None:
    image.tile = [
        tile._replace(args=(raw_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode)
        for tile in image.tile
    ]
