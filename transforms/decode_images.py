"""decode: from the bytes of an image file to the pixels a network takes."""

import io
import threading
import warnings
from contextlib import nullcontext
from typing import Literal, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import PCollection
from PIL import Image, ImageCms, UnidentifiedImageError

from transforms.cores import available_cores
from transforms.failures import ImageError
from transforms.formats import FORMATS, is_cut_short, name_format
from transforms.pooled_map import PooledMap
from transforms.records import DecodedImage, FetchedImage, Pixels

Resize = Literal["crop", "squash", "keras"]

# EXIF 2.32, tag 0x0112: how to turn the stored picture upright.
_ORIENTATION_TAG = 0x0112
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

# Odd metadata is no reason to lose a picture, and the screen belongs to the progress line.
warnings.filterwarnings("ignore", module=r"PIL\.")


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
    try:
        with _open(content, preprocessing.max_pixels) as image:
            width, height = image.size
            large = width * height > _LARGE_PIXELS
            with _one_large_image if large else nullcontext():
                pixels = _pixels(image, preprocessing)
            return Picture(pixels, width, height, _format(image))
    except ImageError:
        raise
    # Pillow raises almost any exception on a hostile file; none of them may cost the batch.
    except Exception as error:
        raise _decoding_error(content, error) from error


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
            return _decoded(image, preprocessing)

        pool = PooledMap(decode, available_cores, _AHEAD)
        return fetched | beam.ParDo(pool).with_output_types(DecodedImage)


def _decoded(fetched: FetchedImage, preprocessing: Preprocessing) -> DecodedImage:
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


def _open(content: bytes, max_pixels: int) -> Image.Image:
    # Pillow refuses above twice this value, before it allocates anything.
    Image.MAX_IMAGE_PIXELS = (max_pixels + 1) // 2
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    if image.width * image.height > max_pixels:
        raise _too_many_pixels(f"{image.width} x {image.height}", max_pixels)
    return image


def _pixels(image: Image.Image, preprocessing: Preprocessing) -> Pixels:
    size = (preprocessing.image_size, preprocessing.image_size)
    if preprocessing.resize == "keras":
        resized = image.convert("RGB").resize(size, Image.Resampling.NEAREST)
        return np.asarray(resized)
    image.draft(None, size)  # a JPEG is decoded at 1/2, 1/4 or 1/8 where that is still enough
    upright = _upright(_to_rgb(image), image)
    box = _centred_square(upright.size) if preprocessing.resize == "crop" else None
    resized = upright.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=_REDUCING_GAP)
    return np.asarray(resized)


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB of any mode Pillow opens: high bit depths rescaled, transparency over white."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I", "F"):
        return _rescale_depth(image)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        return converted or image
    return image.convert("RGB")


def _rescale_depth(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits to RGB: 16-bit by its full range, others by their own range."""
    values = np.asarray(image, dtype=np.float32)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if image.mode.startswith("I;16") or (image.mode == "I" and low >= 0 and high < 2**16):
        low, high = 0.0, 65535.0
    elif image.mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    scaled = (values - low) * (255.0 / (high - low or 1.0))
    grey = np.nan_to_num(scaled).round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _upright(rgb: Image.Image, stored: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(stored.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # broken EXIF is ignored, as browsers do
        return rgb
    return rgb if turn is None else rgb.transpose(turn)


def _centred_square(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The largest centred square of (width, height), as (left, top, right, bottom)."""
    width, height = size
    side = min(size)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _format(image: Image.Image) -> str:
    # A JPEG with further pictures behind the first one is still a JPEG to everyone else.
    return "JPEG" if image.format == "MPO" else str(image.format)


def _decoding_error(content: bytes, error: Exception) -> ImageError:
    name = name_format(content)
    if isinstance(error, (Image.DecompressionBombError, MemoryError)):
        return ImageError("too_many_pixels", f"{name} refused before decoding: {error}")
    if name is None:
        start = content[:16]
        return ImageError("not_an_image", f"no image format begins with the bytes {start!r}")
    if name not in FORMATS:
        wanted = ", ".join(FORMATS)
        return ImageError("unsupported_format", f"{name} is not decoded; convert it to {wanted}")
    if "truncated" in str(error).lower() or is_cut_short(content, name):
        return ImageError("truncated", f"{name} of {len(content):,} bytes ends too early: {error}")
    what = "its header cannot be read" if isinstance(error, UnidentifiedImageError) else str(error)
    return ImageError("corrupt", f"{name}: {what or type(error).__name__}")


def _too_many_pixels(size: str, limit: int) -> ImageError:
    return ImageError(
        "too_many_pixels",
        f"{size} pixels are more than the limit of {limit:,}; raise --max-pixels to take it",
    )
