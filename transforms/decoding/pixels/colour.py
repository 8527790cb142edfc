"""From every colour space and depth that Pillow opens to RGB of 8 bits."""

from collections.abc import Callable
from functools import partial
from typing import Final

from PIL import Image, ImageCms
from PIL.TiffImagePlugin import TiffImageFile

from transforms.decoding.files.stripped import SampleTags
from transforms.decoding.pixels.deep_grey import is_deep_grey, scaling

_COLOUR_MAP: Final = 320


def rgb_conversion(image: Image.Image, samples: SampleTags) -> Callable[[Image.Image], Image.Image]:
    """What makes RGB of `image`, or of any part of it.

    High bit depths are rescaled, transparency is laid on white; CMYK, LAB and palettes converted.

    Raises:
        ImageError: unsupported_format, if nobody can tell which samples are black and white.
    """
    image.load()
    if is_deep_grey(image):
        scale = scaling(image, samples)
        return lambda part: scale(part).convert("RGB")
    if image.mode in ("P", "PA"):
        _mend_colour_map(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        if image.format == "BMP" and _is_unfilled(image):
            return partial(Image.Image.convert, mode="RGB")
        return _over_white
    if image.mode == "LAB":
        return _lab_to_rgb
    return _convert


def _mend_colour_map(image: Image.Image) -> None:
    """A TIFF's colours go up to 65535; some writers let them go up to 255, which looks black."""
    colours = image.tag_v2.get(_COLOUR_MAP, ()) if isinstance(image, TiffImageFile) else ()
    if colours and max(colours) < 256:
        image.putpalette(bytes(colours), "RGB;L")


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
