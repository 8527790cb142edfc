"""From the bytes of an image file to the pixels a network takes, in this process."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile

from transforms.choices import Resize
from transforms.decoding.files.stripped import Stripped
from transforms.decoding.formats import FORMATS, name_format
from transforms.decoding.open_image import open_image, stored_size
from transforms.decoding.pixels.colour import rgb_conversion
from transforms.decoding.pixels.colour_profile import to_srgb
from transforms.decoding.pixels.deep_colour import in_eight_bits, is_deep_colour
from transforms.decoding.pixels.resize import Box, resize, resize_in_bands
from transforms.decoding.strip_metadata import strip_metadata
from transforms.failures import ImageError

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
# Above this many pixels an image is converted in bands, and turned when it is small.
BANDED_PIXELS = 2_000_000

# In Pillow's words: a variant of the format that it cannot decode, rather than a damaged file.
_LACKING = ("truncated", "not enough image data")
_UNSUPPORTED = (
    *("cannot handle", "Unsupported", "not yet supported"),
    *("unknown pixel mode", "unknown raw mode"),
)


class Preprocessing(NamedTuple):
    """From a picture of any size to [image_size, image_size, 3]."""

    image_size: int
    resize: Resize
    max_pixels: int


class Picture(NamedTuple):
    """A decoded image: pixels [size, size, 3] uint8 RGB, 0..255, and what the file said of it."""

    pixels: NDArray[np.uint8]
    width: int
    height: int
    format: str


class OpenedImage(NamedTuple):
    """An image whose header was read."""

    image: ImageFile
    stripped: Stripped
    width: int
    height: int
    format: str
    byte_size: int


def open_for_decoding(content: bytes, preprocessing: Preprocessing) -> OpenedImage:
    """Reads the header; JPEG is set to be decoded at 1/2, 1/4 or 1/8 where that is still enough.

    Raises:
        ImageError: not_an_image, unsupported_format, truncated, corrupt or too_many_pixels.
    """
    name = name_format(content)
    if name not in FORMATS:
        raise _undecodable(content, name)
    is_whole = True
    try:
        as_keras = preprocessing.resize == "keras"
        stripped = strip_metadata(content, name, preprocessing.max_pixels, shows_default=as_keras)
        is_whole = stripped.is_whole
        if name == "JPEG" and not is_whole:
            raise OSError("no end of image")  # decoders fill up with grey what is missing
        return _opened(stripped, name, len(content), preprocessing)
    except ImageError:
        raise
    # Pillow raises almost any exception on a hostile file; none of them may cost the batch.
    except Exception as error:
        raise _decoding_error(name, len(content), is_whole, error) from error


def decode_opened(opened: OpenedImage, preprocessing: Preprocessing) -> Picture:
    """Decodes the first frame, turns it upright, lays it on white, cuts and resizes it.

    `resize="keras"` gives the pixels of `keras.utils.load_img(target_size=...)` instead.

    Raises:
        ImageError: unsupported_format, truncated, corrupt or too_many_pixels.
    """
    try:
        picture = _decoded(opened, preprocessing)
    except ImageError:
        raise
    except Exception as error:
        is_whole = opened.stripped.is_whole
        raise _decoding_error(opened.format, opened.byte_size, is_whole, error) from error
    return Picture(np.asarray(picture), opened.width, opened.height, opened.format)


def _decoded(opened: OpenedImage, preprocessing: Preprocessing) -> Image.Image:
    side, stripped = preprocessing.image_size, opened.stripped
    with opened.image as image:
        if preprocessing.resize == "keras":
            as_pillow = _turned(image, stripped.orientation) if image.format == "TIFF" else image
            return as_pillow.resize((side, side), Image.Resampling.NEAREST).convert("RGB")
        frame, mode = _part_of_canvas(image), image.mode
        picture: Image.Image = image
        if is_deep_colour(image):
            limit = preprocessing.max_pixels
            picture = in_eight_bits(
                image, lambda: open_image(stripped.content, opened.format, limit)
            )
        # Of the small picture: a quarter of the time, and colours 0.4 of 255 off on average.
        return to_srgb(_resized(picture, frame, stripped, preprocessing), stripped.profile, mode)


def _opened(
    stripped: Stripped, name: str, byte_size: int, preprocessing: Preprocessing
) -> OpenedImage:
    image = open_image(stripped.content, name, preprocessing.max_pixels)
    width, height = stored_size(image)
    if stripped.is_scalable and preprocessing.resize != "keras":
        image.draft(None, (preprocessing.image_size, preprocessing.image_size))
    return OpenedImage(image, stripped, width, height, name, byte_size)


def _resized(
    image: Image.Image, frame: Box | None, stripped: Stripped, preprocessing: Preprocessing
) -> Image.Image:
    side, turn = preprocessing.image_size, stripped.orientation
    convert = rgb_conversion(image, stripped.samples)

    def rgb(box: Box) -> Image.Image:
        """The first frame of an animation may leave a part of the canvas free, which is white."""
        part = convert(image if box == (0, 0, *image.size) else image.crop(box))
        return part if frame is None else _on_canvas(part, box, frame)

    is_rgb = image.mode == "RGB" and frame is None and "transparency" not in image.info
    if image.width * image.height > BANDED_PIXELS and not (is_rgb and turn == 1):
        box = _box(image.size, preprocessing.resize)
        return _turned(resize_in_bands(rgb, image.size, side, box), turn)
    upright = _turned(rgb((0, 0, *image.size)), turn)
    return resize(upright, side, _box(upright.size, preprocessing.resize))


def _part_of_canvas(image: ImageFile) -> Box | None:
    """Where the first frame of an animation lies, if it covers only a part of the canvas."""
    if not isinstance(image, (GifImageFile, PngImageFile)):
        return None
    frame = image.tile[0].extents
    return None if frame == (0, 0, *image.size) else frame


def _on_canvas(part: Image.Image, box: Box, frame: Box) -> Image.Image:
    """`part`, which is `box` of the canvas, white where the frame does not reach."""
    left, top = max(box[0], frame[0]), max(box[1], frame[1])
    right, bottom = min(box[2], frame[2]), min(box[3], frame[3])
    if (left, top, right, bottom) == box:
        return part
    canvas = Image.new("RGB", part.size, "white")
    if left < right and top < bottom:
        inner = (left - box[0], top - box[1], right - box[0], bottom - box[1])
        canvas.paste(part.crop(inner), inner)
    return canvas


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    if turn is None:
        return image
    image.load()
    return image.transpose(turn)


def _box(size: tuple[int, int], resize: Resize) -> Box:
    """What is kept: all, or the largest centred square, as (left, top, right, bottom)."""
    width, height = size
    if resize != "crop":
        return 0, 0, width, height
    side = min(size)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _undecodable(content: bytes, name: str | None) -> ImageError:
    if name is None:
        start = content[:16]
        return ImageError("not_an_image", f"no image format begins with the bytes {start!r}")
    wanted = ", ".join(FORMATS)
    return ImageError("unsupported_format", f"{name} is not decoded; convert it to one of {wanted}")


def _decoding_error(name: str, byte_size: int, is_whole: bool, error: Exception) -> ImageError:
    what = f"{name} of {byte_size:,} bytes"
    cause = str(error) or type(error).__name__
    if isinstance(error, MemoryError):
        return ImageError("too_many_pixels", f"{what} needs more memory to decode than there is")
    if not is_whole or any(phrase in cause.lower() for phrase in _LACKING):
        return ImageError("truncated", f"{what} ends too early ({cause}); copy it again")
    if any(phrase in cause for phrase in _UNSUPPORTED):
        return ImageError("unsupported_format", f"{what} is of a rare kind: {cause}; re-save it")
    return ImageError("corrupt", f"{what} is damaged: {cause}")
