"""decode: from the bytes of an image file to the pixels a network takes."""

import threading
from contextlib import nullcontext
from typing import Literal, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import PCollection
from PIL import Image
from PIL.ImageFile import ImageFile

from transforms.colour import to_rgb
from transforms.cores import available_cores
from transforms.failures import ImageError
from transforms.formats import FORMATS, name_format
from transforms.open_image import open_image, stored_size
from transforms.pooled_map import PooledMap
from transforms.records import DecodedImage, FetchedImage, Pixels
from transforms.strip_metadata import Stripped, strip_metadata

Resize = Literal["crop", "squash", "keras"]

# EXIF 2.32, tag 0x0112: how to turn the stored picture upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Large downscales first average whole blocks of pixels, as long as twice the target remains.
_REDUCING_GAP = 2.0
# Above this many pixels an image is decoded alone, so that memory holds one of them at most.
_LARGE_PIXELS = 24_000_000
_one_large_image = threading.Lock()
# 64 x 150 kB of pixels keep two cores busy through any one inference call.
_AHEAD = 64

# In Pillow's words: a variant of the format that it cannot decode, rather than a damaged file.
_UNSUPPORTED = ("cannot handle", "Unsupported", "unknown pixel mode", "not yet supported")


class Preprocessing(NamedTuple):
    """From a picture of any size to [image_size, image_size, 3]."""

    image_size: int
    resize: Resize
    max_pixels: int


class Picture(NamedTuple):
    """A decoded image: pixels [size, size, 3] uint8 RGB, 0..255, and what the file said of it."""

    pixels: Pixels
    width: int
    height: int
    format: str


def decode_image(content: bytes, preprocessing: Preprocessing) -> Picture:
    """Decodes the first frame, turns it upright, lays it on white, cuts and resizes it.

    `resize="keras"` gives the pixels of `keras.utils.load_img(target_size=...)` instead.

    Raises:
        ImageError: not_an_image, unsupported_format, truncated, corrupt or too_many_pixels.
    """
    name = name_format(content)
    if name not in FORMATS:
        raise _undecodable(content, name)
    is_whole = True
    try:
        stripped = strip_metadata(content, name, preprocessing.max_pixels)
        is_whole = stripped.is_whole
        if name == "JPEG" and not is_whole:
            raise OSError("no end of image")  # decoders fill up with grey what is missing
        with open_image(stripped.content, name, preprocessing.max_pixels) as image:
            width, height = stored_size(image)
            large = width * height > _LARGE_PIXELS
            with _one_large_image if large else nullcontext():
                pixels = _pixels(image, stripped, preprocessing)
            return Picture(pixels, width, height, name)
    except ImageError:
        raise
    # Pillow raises almost any exception on a hostile file; none of them may cost the batch.
    except Exception as error:
        raise _decoding_error(f"{name} of {len(content):,} bytes", is_whole, error) from error


def decode_fetched(fetched: FetchedImage, preprocessing: Preprocessing) -> DecodedImage:
    """`decode_image` for one record; a failure, earlier or of its own, is in the record."""
    slot = fetched.slot
    if fetched.content is None:
        return DecodedImage(slot, None, None, None, None, fetched.failure)
    try:
        picture = decode_image(fetched.content, preprocessing)
    except ImageError as error:
        failure = error.at("decode")
        return DecodedImage(slot, None, None, None, name_format(fetched.content), failure)
    return DecodedImage(
        slot, picture.pixels, picture.width, picture.height, picture.format, failure=None
    )


class DecodeImages(beam.PTransform):
    """`FetchedImage`s to `DecodedImage`s, on a thread for each core."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        """`preprocessing` is the same for every image."""
        super().__init__()
        self._preprocessing = preprocessing

    def expand(self, fetched: PCollection[FetchedImage]) -> PCollection[DecodedImage]:
        """Decodes ahead of the classification, about two batches."""
        preprocessing = self._preprocessing

        def decode(image: FetchedImage) -> DecodedImage:
            return decode_fetched(image, preprocessing)

        pool = PooledMap(decode, available_cores, _AHEAD)
        return fetched | beam.ParDo(pool).with_output_types(DecodedImage)


def _pixels(image: ImageFile, stripped: Stripped, preprocessing: Preprocessing) -> Pixels:
    size = (preprocessing.image_size, preprocessing.image_size)
    if preprocessing.resize == "keras":
        return np.asarray(image.convert("RGB").resize(size, Image.Resampling.NEAREST))
    if stripped.is_scalable:
        image.draft(None, size)  # decode at 1/2, 1/4 or 1/8 where that is still enough
    frame = image.tile[0].extents if image.format == "GIF" else None
    upright = _upright(_on_canvas(to_rgb(image), frame), stripped.orientation)
    box = _centred_square(upright.size) if preprocessing.resize == "crop" else None
    resized = upright.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=_REDUCING_GAP)
    return np.asarray(resized)


def _on_canvas(rgb: Image.Image, frame: tuple[int, int, int, int] | None) -> Image.Image:
    """A GIF's first frame may leave a part of the canvas free, and that is white."""
    if frame in (None, (0, 0, *rgb.size)):
        return rgb
    canvas = Image.new("RGB", rgb.size, "white")
    canvas.paste(rgb.crop(frame), frame)
    return canvas


def _upright(rgb: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return rgb if turn is None else rgb.transpose(turn)


def _centred_square(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The largest centred square of (width, height), as (left, top, right, bottom)."""
    width, height = size
    side = min(size)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _undecodable(content: bytes, name: str | None) -> ImageError:
    if name is None:
        start = content[:16]
        return ImageError("not_an_image", f"no image format begins with the bytes {start!r}")
    wanted = ", ".join(FORMATS)
    return ImageError("unsupported_format", f"{name} is not decoded; convert it to one of {wanted}")


def _decoding_error(what: str, is_whole: bool, error: Exception) -> ImageError:
    cause = str(error) or type(error).__name__
    if isinstance(error, MemoryError):
        return ImageError("too_many_pixels", f"{what} needs more memory to decode than there is")
    if not is_whole or "truncated" in cause.lower():
        return ImageError("truncated", f"{what} ends too early ({cause}); copy it again")
    if any(phrase in cause for phrase in _UNSUPPORTED):
        return ImageError("unsupported_format", f"{what} is of a rare kind: {cause}; re-save it")
    return ImageError("corrupt", f"{what} is damaged: {cause}")
