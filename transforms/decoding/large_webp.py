"""Large WebP, decoded by libwebp at the size that is needed.

Pillow asks libwebp for two canvases and makes two more copies, 16 bytes a pixel. libwebp can crop
and scale while it decodes: next to nothing for lossy WebP, and 4 bytes a pixel for lossless.
"""

import ctypes
import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, _webp

from transforms.failures import too_many_pixels

# webp/decode.h: the major version of the interface, and how the samples of a pixel are laid out.
_ABI: Final = 0x0200
_RGB, _RGBA = 0, 1
_OUT_OF_MEMORY: Final = 1
_STATUS: Final = {
    2: "invalid parameters",
    3: "broken data stream",
    4: "Unsupported feature",
    7: "image file is truncated",
}
_ANIMATION_FLAG, _ALPHA_FLAG = 0x02, 0x10
_SIGNATURE_BYTES: Final = 12
_LARGE_PIXELS: Final = 4_000_000


class _Features(ctypes.Structure):
    _fields_ = (
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("has_alpha", ctypes.c_int),
        ("rest", ctypes.c_uint32 * 7),
    )


class _Buffer(ctypes.Structure):
    _fields_ = (
        ("colorspace", ctypes.c_int),
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("is_external_memory", ctypes.c_int),
        ("pixels", ctypes.c_void_p),
        ("stride", ctypes.c_int),
        ("size", ctypes.c_size_t),
        ("planes", ctypes.c_uint8 * 56),
        ("pad", ctypes.c_uint32 * 4),
        ("private_memory", ctypes.c_void_p),
    )


class _Options(ctypes.Structure):
    _fields_ = (
        ("bypass_filtering", ctypes.c_int),
        ("no_fancy_upsampling", ctypes.c_int),
        ("use_cropping", ctypes.c_int),
        ("crop", ctypes.c_int * 4),
        ("use_scaling", ctypes.c_int),
        ("scaled", ctypes.c_int * 2),
        ("rest", ctypes.c_uint32 * 9),
    )


class _Config(ctypes.Structure):
    _fields_ = (("input", _Features), ("output", _Buffer), ("options", _Options))


class Frame(NamedTuple):
    """The first frame as a WebP of its own, and where it lies on the canvas."""

    content: bytes
    left: int
    top: int
    width: int
    height: int
    has_alpha: bool
    is_lossless: bool


def _library() -> Any:
    """The libwebp that Pillow loads, or None where it cannot be called."""
    library = ctypes.CDLL(_webp.__file__)
    return library if hasattr(library, "WebPDecode") else None


_libwebp: Final = _library()


def is_large_webp(content: bytes, name: str) -> bool:
    """Whether it is one that Pillow had better not open, and libwebp can be called here."""
    if name != "WEBP" or _libwebp is None:
        return False
    width, height = _canvas_size(content)
    return width * height > _LARGE_PIXELS


class LargeWebp:
    """A WebP whose header was read."""

    def __init__(self, content: bytes, max_pixels: int) -> None:
        """Only one that `is_large_webp`.

        Raises:
            ImageError: too_many_pixels.
            OSError: its header is broken.
        """
        self.size = _canvas_size(content)
        if self.size[0] * self.size[1] > max_pixels:
            raise too_many_pixels(f"WEBP of {self.size[0]} x {self.size[1]}", max_pixels)
        self.frame = _first_frame(content, self.size)
        if self.frame.width * self.frame.height > max_pixels:
            frame = f"WEBP with a frame of {self.frame.width} x {self.frame.height}"
            raise too_many_pixels(frame, max_pixels)

    def shrunk(self, side: int, box: tuple[int, int, int, int]) -> Image.Image:
        """The part within `box` on white, at up to twice `side`: [height, width] RGB."""
        left, top, right, bottom = box
        scales = [min(1.0, 2 * side / length) for length in (right - left, bottom - top)]
        size = [
            max(1, round(length * scale))
            for length, scale in zip((right - left, bottom - top), scales, strict=True)
        ]
        canvas = Image.new("RGB", (size[0], size[1]), "white")
        frame = self.frame
        x0, x1 = max(left, frame.left), min(right, frame.left + frame.width)
        y0, y1 = max(top, frame.top), min(bottom, frame.top + frame.height)
        if x0 >= x1 or y0 >= y1:
            return canvas
        crop = x0 - frame.left, y0 - frame.top, x1 - x0, y1 - y0
        at_x, to_x = (round((x - left) * scales[0]) for x in (x0, x1))
        at_y, to_y = (round((y - top) * scales[1]) for y in (y0, y1))
        mode = _RGBA if frame.has_alpha else _RGB
        pixels = _decode(frame.content, mode, crop, (max(1, to_x - at_x), max(1, to_y - at_y)))
        part = Image.fromarray(pixels)
        canvas.paste(part, (at_x, at_y), part if frame.has_alpha else None)
        return canvas

    def nearest(self, side: int) -> Image.Image:
        """[side, side] RGB without transparency, as Pillow's nearest neighbours."""
        frame = self.frame
        size = frame.width, frame.height
        pixels = _decode(frame.content, _RGB, (0, 0, *size), size)
        columns, rows = (_nearest(length, side) for length in self.size)
        columns, rows = columns - frame.left, rows - frame.top
        across = np.flatnonzero((columns >= 0) & (columns < frame.width))
        down = np.flatnonzero((rows >= 0) & (rows < frame.height))
        found = np.zeros((side, side, 3), np.uint8)
        found[np.ix_(down, across)] = pixels[np.ix_(rows[down], columns[across])]
        return Image.fromarray(found)


def _nearest(length: int, side: int) -> NDArray[np.int64]:
    """The places, of `length`, that Pillow takes `side` values from; it adds up steps."""
    step = length / side
    return np.cumsum([step / 2, *[step] * (side - 1)]).astype(np.int64)


def _canvas_size(content: bytes) -> tuple[int, int]:
    """Width and height by the first chunk; 0 and 0 where that is broken."""
    kind, body = content[12:16], content[20:30]
    if kind == b"VP8X" and len(body) == 10:
        return 1 + _number(body, 4, 3), 1 + _number(body, 7, 3)
    if kind == b"VP8L" and len(body) >= 5:
        bits = _number(body, 1, 4)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and len(body) == 10:
        return _number(body, 6, 2) & 0x3FFF, _number(body, 8, 2) & 0x3FFF
    return 0, 0


def _first_frame(content: bytes, size: tuple[int, int]) -> Frame:
    left = top = 0
    if content[12:16] == b"VP8X" and content[20] & _ANIMATION_FLAG:
        frames = (content[at : at + size] for kind, at, size in _chunks(content) if kind == b"ANMF")
        frame = next(frames, b"")
        left, top = 2 * _number(frame, 0, 3), 2 * _number(frame, 3, 3)
        content = _still(frame)
    features = _Features()
    length = ctypes.c_size_t(len(content))
    _check(_libwebp.WebPGetFeaturesInternal(content, length, ctypes.byref(features), _ABI))
    width, height = features.width, features.height
    if left + width > size[0] or top + height > size[1]:
        raise OSError("broken data stream: the first frame reaches beyond the canvas")
    pictures = (kind for kind, _, _ in _chunks(content) if kind in (b"VP8 ", b"VP8L"))
    is_lossless = next(pictures, b"VP8L") == b"VP8L"
    return Frame(content, left, top, width, height, bool(features.has_alpha), is_lossless)


def _still(body: bytes) -> bytes:
    """The picture of an animation's frame as a WebP."""
    size = body[6:12]  # width and height less one, three bytes each
    picture = struct.pack("<4sII6s", b"VP8X", 10, _ALPHA_FLAG, size) + body[16:]
    return struct.pack("<4sI4s", b"RIFF", 4 + len(picture), b"WEBP") + picture


def _chunks(content: bytes, at: int = _SIGNATURE_BYTES) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and size of each chunk."""
    while at + 8 <= len(content):
        size = _number(content, at + 4, 4)
        yield content[at : at + 4], at + 8, size
        at += 8 + size + size % 2


def _number(content: bytes, at: int, size: int) -> int:
    return int.from_bytes(content[at : at + size], "little")


def _decode(
    content: bytes, mode: int, crop: tuple[int, int, int, int], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """`crop`, (left, top, width, height), at `size`: [height, width, 3 or 4]."""
    config = _Config()
    if not _libwebp.WebPInitDecoderConfigInternal(ctypes.byref(config), _ABI):
        raise OSError("Unsupported version of libwebp")
    found = np.empty((size[1], size[0], 4 if mode == _RGBA else 3), np.uint8)
    options, output = config.options, config.output
    options.use_cropping, options.crop = 1, crop
    options.use_scaling, options.scaled = size != crop[2:], size
    output.colorspace, output.is_external_memory = mode, 1
    output.pixels, output.stride, output.size = found.ctypes.data, found.strides[0], found.nbytes
    _check(_libwebp.WebPDecode(content, ctypes.c_size_t(len(content)), ctypes.byref(config)))
    return found


def _check(status: int) -> None:
    if status == _OUT_OF_MEMORY:
        raise MemoryError
    if status:
        raise OSError(_STATUS.get(status, f"libwebp gives status {status}"))
