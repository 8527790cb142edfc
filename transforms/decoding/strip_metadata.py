"""The part of an image file that makes its first picture, without whatever else it carries.

Profiles, comments, thumbnails and later frames make no pixels here, but can be broken, or need
memory and time out of all proportion when a decoder reads them.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Final

from transforms.decoding.files.orientation import UPRIGHT, orientation
from transforms.decoding.files.strip_jpeg import strip_jpeg
from transforms.decoding.files.strip_png import strip_png
from transforms.decoding.files.strip_tiff import strip_tiff
from transforms.decoding.files.stripped import MOST_PROFILE_BYTES, Parts, Stripped
from transforms.failures import too_many_pixels

# A BMP has at least 14 bytes of file header and 12 of the image's.
_BMP_HEADERS: Final = 26
# Encoders make at most 400,000 of 100 MB.
_MOST_GIF_BLOCKS: Final = 500_000


def strip_metadata(
    content: bytes, name: str, max_pixels: int, shows_default: bool = False
) -> Stripped:
    """`content`, of the format `name`, as far as it makes the first picture.

    With `shows_default` that is a PNG's default image, even where an animation hides it.

    Raises:
        ImageError: truncated, corrupt, unsupported_format or too_many_pixels, by the header.
    """
    if name == "PNG":
        return strip_png(content, shows_default)
    strip: Callable[[bytes, int], Stripped] = _STRIPPERS[name]
    return strip(content, max_pixels)


def _bmp(content: bytes, _: int) -> Stripped:
    size = int.from_bytes(content[2:6], "little")
    return Stripped(content, UPRIGHT, len(content) >= max(size, _BMP_HEADERS))


def _gif(content: bytes, max_pixels: int) -> Stripped:
    at = 13 + _gif_palette(content, 10)
    kept, control = [content[:at]], b""
    blocks = Parts("GIF", _MOST_GIF_BLOCKS)
    while at < len(content):
        if content[at : at + 2] == b"!\xf9":
            control = content[at : _gif_blocks_end(content, at + 2, blocks)]
        if content[at : at + 1] == b"!":
            at = _gif_blocks_end(content, at + 2, blocks)
            continue
        break
    end = at + 10 if content[at : at + 1] in (b",", b"") else len(content)
    if content[at : at + 1] == b"," and end <= len(content):
        left, top, width, height = struct.unpack_from("<4H", content, at + 1)
        screen_width, screen_height = struct.unpack_from("<2H", content, 6)
        width, height = max(screen_width, left + width), max(screen_height, top + height)
        if width * height > max_pixels:
            raise too_many_pixels(f"GIF of {width} x {height}", max_pixels)
        end = _gif_blocks_end(content, at + 11 + _gif_palette(content, at + 9), blocks)
    kept += [control, content[at:end]]
    return Stripped(b"".join(kept), UPRIGHT, end <= len(content))


def _gif_palette(content: bytes, at: int) -> int:
    """Bytes of the palette that the flags at `at` announce."""
    flags = int.from_bytes(content[at : at + 1], "big")
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _gif_blocks_end(content: bytes, at: int, blocks: Parts) -> int:
    """Where the chain of blocks at `at` ends; beyond the end of `content` if it does not."""
    blocks.add()
    while at < len(content) and content[at]:
        blocks.add()
        at += 1 + content[at]
    return at + 1


def _webp(content: bytes, max_pixels: int) -> Stripped:
    exif = packet = profile = b""
    for kind, at, size in _webp_chunks(content):
        if kind == b"VP8X":
            width, height = (
                1 + int.from_bytes(content[at + 4 + i : at + 7 + i], "little") for i in (0, 3)
            )
            if width * height > max_pixels:
                raise too_many_pixels(f"WEBP of {width} x {height}", max_pixels)
        elif kind == b"EXIF":
            exif = exif or content[at : at + size]
        elif kind == b"XMP ":
            packet = packet or content[at : at + size]
        elif kind == b"ICCP" and size <= MOST_PROFILE_BYTES:
            profile = content[at : at + size]
    is_whole = len(content) >= 8 + int.from_bytes(content[4:8], "little")
    return Stripped(content, orientation(exif, xmp=packet), is_whole, profile=profile)


def _webp_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and size of each chunk of a RIFF file."""
    at, parts = 12, Parts("WEBP")
    while at + 8 <= len(content):
        parts.add()
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        yield content[at : at + 4], at + 8, size
        at += 8 + size + size % 2


_STRIPPERS: Final = {
    "JPEG": strip_jpeg,
    "GIF": _gif,
    "BMP": _bmp,
    "WEBP": _webp,
    "TIFF": strip_tiff,
}
