"""Opens an image with Pillow: only the decoder it needs, within limits, silently."""

import ctypes
import io
import logging
import warnings
from collections.abc import Mapping
from typing import Final

from PIL import Image, _imaging
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from transforms.decoding.files.tiff_directory import HEIGHT, PHOTOMETRIC, WIDTH
from transforms.failures import too_many_pixels

_READERS: Final[Mapping[str, type[ImageFile]]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "WEBP": WebPImageFile,
    "TIFF": TiffImageFile,
}
# BMP compressions 1 and 2 may skip up to 255 rows at a time, which Pillow writes out as zeros.
_RUN_LENGTH_ENCODED: Final = (1, 2)
_MOST_ROWS_SKIPPED: Final = 255
_YCBCR: Final = 6


def open_image(content: bytes, name: str, max_pixels: int) -> ImageFile:
    """Reads the header of `content`, which has the signature of the format `name`.

    Raises:
        ImageError: too_many_pixels, before anything is allocated for them.
        Exception: almost any, by Pillow, where the header is broken.
    """
    # Pillow has a limit of its own, for all who use it in this process: it is only ever raised.
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, max_pixels)
    image = _READERS[name](io.BytesIO(content))
    width, height = image.size
    if width * height > max_pixels:
        raise too_many_pixels(f"{name} of {width} x {height}", max_pixels)
    if isinstance(image, TiffImageFile):
        _leave_ycbcr_to_libtiff(image)
    if name == "BMP" and image.info["compression"] in _RUN_LENGTH_ENCODED:
        rows = height + _MOST_ROWS_SKIPPED
        if width * rows > max_pixels:
            raise too_many_pixels(f"run-length encoded BMP of {width} x {rows}", max_pixels)
    return image


def stored_size(image: Image.Image) -> tuple[int, int]:
    """Width and height before any turn; Pillow gives those of a TIFF after it."""
    if isinstance(image, TiffImageFile):
        return image.tag_v2[WIDTH], image.tag_v2[HEIGHT]
    return image.size


def _leave_ycbcr_to_libtiff(image: TiffImageFile) -> None:
    """Pillow reads uncompressed TIFF by itself, but takes YCbCr for four bytes a pixel."""
    tile = image.tile[0]
    if tile.codec_name == "raw" and image.tag_v2.get(PHOTOMETRIC) == _YCBCR:
        image.use_load_libtiff = True
        args = ("RGBX", "raw", False, image.tag_v2.offset)
        image.tile = [
            tile._replace(
                codec_name="libtiff", extents=(0, 0, *stored_size(image)), offset=0, args=args
            )
        ]


def _silence() -> None:
    """Odd files are no news for the user's screen: each one has its row with the reason."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    # libtiff prints to file descriptor 2 by itself; Pillow links it but has no switch for that.
    libraries = ctypes.CDLL(_imaging.__file__)
    if hasattr(libraries, "TIFFSetErrorHandler"):
        libraries.TIFFSetErrorHandler(None)
        libraries.TIFFSetWarningHandler(None)


_silence()
