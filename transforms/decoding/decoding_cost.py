"""What decoding an image will take, told from its header."""

from typing import Final, NamedTuple

from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from transforms.decoding.files.stripped import Stripped
from transforms.decoding.files.tiff_directory import strips
from transforms.decoding.pixels.deep_colour import extra_memory

# Bytes a pixel in Pillow's memory; any mode that is not named here takes four.
_MODE_BYTES: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
# libwebp holds two canvases of RGBA for Pillow, which has a copy besides its own image.
_WEBP_BYTES: Final = 12
# Whatever the conversion of a band and the small picture take.
_BANDS: Final = 32_000_000
# Nanoseconds for a pixel, a scan over a pixel, a strip, a run: about the worst that was measured
# on a core of 2.5 GHz.
_PIXEL_NS: Final = {"JPEG": 20, "PNG": 40, "GIF": 20, "BMP": 10, "WEBP": 40, "TIFF": 45}
_SCAN_NS, _STRIP_NS, _RUN_NS = 8, 20_000, 500
_COEFFICIENT_BYTES: Final = 2


class Cost(NamedTuple):
    """Bytes of memory at the worst, and about how many seconds on one core."""

    memory: int
    seconds: float


def decoding_cost(image: ImageFile, stripped: Stripped, stored_pixels: int) -> Cost:
    """For an image that was opened, and told at which scale to decode, but not yet decoded."""
    pixels = image.width * image.height
    memory = pixels * _MODE_BYTES.get(image.mode, 4) + len(stripped.content) + _BANDS
    memory += extra_memory(image)
    nanoseconds = stored_pixels * _PIXEL_NS[str(image.format)]
    if isinstance(image, JpegImageFile) and stripped.scans:
        memory += _coefficients(image, stored_pixels) * _COEFFICIENT_BYTES
        nanoseconds += stored_pixels * stripped.scans * _SCAN_NS
    elif image.format == "WEBP":
        memory += pixels * _WEBP_BYTES
    elif isinstance(image, TiffImageFile):
        layout = strips(stripped.content)
        memory += layout.largest
        nanoseconds += layout.number * _STRIP_NS + layout.stored_bytes
    elif isinstance(image, BmpImageFile) and image.info["compression"]:
        memory += 2 * pixels
        nanoseconds += len(stripped.content) * _RUN_NS
    return Cost(memory, nanoseconds * 1e-9)


def _coefficients(image: JpegImageFile, pixels: int) -> int:
    """How many of them a JPEG holds: fewer than three a pixel where colour is subsampled."""
    samples = [(across, down) for _, across, down, _ in image.layer]
    most = max(across for across, _ in samples) * max(down for _, down in samples)
    return pixels * sum(across * down for across, down in samples) // (most or 1)
