"""What decoding an image will take, told from its header."""

from typing import Final, NamedTuple

from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from transforms.decoding.files.stripped import Stripped
from transforms.decoding.formats import name_format
from transforms.decoding.pixels.deep_colour import extra_memory

# Bytes a pixel in Pillow's memory; any mode that is not named here takes four.
_MODE_BYTES: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
# libwebp holds two canvases of RGBA for Pillow, which has a copy besides its own image.
_WEBP_BYTES: Final = 12
# Pillow and its copies point at each row; its decoders hold two rows of up to 8 bytes a pixel.
_SIDE_BYTES: Final = 16
# Whatever the conversion of a band and the small picture take.
_BANDS: Final = 32_000_000
# Nanoseconds for a pixel, and for a scan over a pixel: about the worst that was measured on a core
# of 2.5 GHz.
_PIXEL_NS: Final = {"JPEG": 20, "PNG": 40, "GIF": 20, "BMP": 10, "WEBP": 40}
_SCAN_NS: Final = 8
_COEFFICIENT_BYTES: Final = 2
# BMP headers of this many bytes and more have a compression, of which two are by runs.
_BMP_HEADER: Final = 40
_RUN_LENGTH_ENCODED: Final = (1, 2)


class Cost(NamedTuple):
    """Bytes of memory at the worst, and about how many seconds on one core."""

    memory: int
    seconds: float


def decoding_cost(image: ImageFile, stripped: Stripped, stored_pixels: int) -> Cost:
    """For an image that was opened, and told at which scale to decode, but not yet decoded."""
    pixels = image.width * image.height
    memory = pixels * _MODE_BYTES.get(image.mode, 4) + len(stripped.content) + _BANDS
    memory += (image.width + image.height) * _SIDE_BYTES + extra_memory(image)
    nanoseconds = stored_pixels * _PIXEL_NS[str(image.format)]
    if isinstance(image, JpegImageFile) and stripped.scans:
        memory += _coefficients(image, stored_pixels) * _COEFFICIENT_BYTES
        nanoseconds += stored_pixels * stripped.scans * _SCAN_NS
    elif image.format == "WEBP":
        memory += pixels * _WEBP_BYTES
    return Cost(memory, nanoseconds * 1e-9)


def is_of_unknown_cost(content: bytes) -> bool:
    """Whether no header tells what decoding takes.

    A TIFF has tags and strips of any size, and a run of an encoded BMP may skip 255 rows.
    """
    name = name_format(content)
    if name == "BMP" and int.from_bytes(content[14:18], "little") >= _BMP_HEADER:
        return int.from_bytes(content[30:34], "little") in _RUN_LENGTH_ENCODED
    return name == "TIFF"


def _coefficients(image: JpegImageFile, pixels: int) -> int:
    """How many of them a JPEG holds: fewer than three a pixel where colour is subsampled."""
    samples = [(across, down) for _, across, down, _ in image.layer]
    most = max(across for across, _ in samples) * max(down for _, down in samples)
    return pixels * sum(across * down for across, down in samples) // (most or 1)
