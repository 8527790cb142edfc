"""From the colours of a file's own ICC profile, as Display P3 or Adobe RGB, to those of sRGB."""

import functools
import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_MODES: Final = {"RGB ": "RGB", "GRAY": "L"}
_GREYS: Final = ("1", "L", "LA", "I;16", "I;16B", "I", "F")
# Profiles whose colours lie closer to sRGB than this, on average over all, stay as they are: that
# is twice what a gamma of 2.2 makes of sRGB's curve, and not to be seen.
_LEAST_CHANGE: Final = 5.0
# A profile that makes white or black anything else is broken.
_DARKEST_WHITE, _LIGHTEST_BLACK = 200, 60
_INTENT: Final = ImageCms.Intent.RELATIVE_COLORIMETRIC
_KEPT: Final = 32
_STEPS: Final = 16


def to_srgb(picture: Image.Image, profile: bytes, stored_mode: str) -> Image.Image:
    """`picture`, RGB, by the profile of a file whose pixels have `stored_mode`.

    It stays as it is where the profile is nearly sRGB, is broken, or is not for such pixels.
    """
    transform = _transform(profile) if profile else None
    if transform is None:
        return picture
    is_grey = transform.input_mode == "L"
    if (is_grey and stored_mode not in _GREYS) or stored_mode in ("CMYK", "LAB"):
        return picture
    source = picture.getchannel(0) if is_grey else picture
    return _applied(transform, source)


@functools.lru_cache(maxsize=_KEPT)
def _transform(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """What converts to sRGB, if there is something to convert."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES[source.profile.xcolor_space]
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, srgb, mode, "RGB", _INTENT)
        before = _colours(mode)
        after = np.asarray(_applied(transform, before), np.float64)
    # Little CMS raises almost anything for a hostile profile; none of them may cost the image.
    except Exception:
        return None
    black, white = after.reshape(-1, 3)[[0, -1]]
    if white.min() < _DARKEST_WHITE or black.max() > _LIGHTEST_BLACK:
        return None
    change = np.abs(after - np.asarray(before.convert("RGB"), np.float64)).mean()
    return transform if change >= _LEAST_CHANGE else None


def _applied(transform: ImageCms.ImageCmsTransform, picture: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(picture, transform)
    assert converted is not None  # it is None only with inPlace
    return converted


def _colours(mode: str) -> Image.Image:
    """All greys, or colours spread evenly, from black to white."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[np.newaxis])
    levels = np.linspace(0, 255, _STEPS).round().astype(np.uint8)
    grid: NDArray[np.uint8] = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    return Image.fromarray(grid.reshape(_STEPS**2, _STEPS, 3))
