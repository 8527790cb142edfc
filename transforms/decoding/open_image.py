"""Opens an image with Pillow: only the decoder it needs, within limits, silently."""

import io
import logging
import warnings
from typing import Final

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from transforms.decoding.files.tiff_directory import HEIGHT, PHOTOMETRIC, WIDTH
from transforms.decoding.readers import READERS
from transforms.failures import too_many_pixels

_MOST_PIXEL_BYTES: Final = 16
_YCBCR: Final = 6


def open_image(content: bytes, name: str, max_pixels: int) -> ImageFile:
    """Reads the header of `content`, which has the signature of the format `name`.

    Raises:
        ImageError: too_many_pixels, before anything is allocated for them.
        Exception: almost any, by Pillow, where the header is broken.
    """
    # Pillow has a limit of its own, for all who use it in this process: it is only ever raised.
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, max_pixels)
    image = READERS[name](io.BytesIO(content))
    width, height = image.size
    if width * height > max_pixels:
        raise too_many_pixels(f"{name} of {width} x {height}", max_pixels)
    # Pillow appends to a row that is not complete, block by block, and copies it each time.
    image.decodermaxblock = max(image.decodermaxblock, width * _MOST_PIXEL_BYTES)
    if isinstance(image, TiffImageFile):
        _leave_ycbcr_to_libtiff(image)
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


_silence()
