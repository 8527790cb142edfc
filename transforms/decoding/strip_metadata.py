"""The part of an image file that makes its first picture, without whatever else it carries.

Profiles, comments, thumbnails and later frames make no pixels here, but can be broken, or need
memory and time out of all proportion when a decoder reads them.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from transforms.decoding.tiff_directory import is_whole, orientation, pixels_only
from transforms.failures import ImageError, too_many_pixels

# JPEG markers, T.81 table B.1: with nothing to skip, application data, comment, start of scan.
_JPEG_BARE: Final = frozenset((0x01, *range(0xD0, 0xDA)))
_JPEG_METADATA: Final = frozenset((*range(0xE1, 0xEE), 0xEF, 0xFE))
# JFIF and Adobe, which tell the colour space. Shorter than 12 bytes they are broken.
_JPEG_COLOUR: Final = (0xE0, 0xEE)
_EXIF_SEGMENT, _START_OF_SCAN = 0xE1, 0xDA
_FRAMES: Final = frozenset((*range(0xC0, 0xD0), 0xDE)) - {0xC4, 0xC8, 0xCC}
# Sequential or progressive DCT. libjpeg-turbo scales no lossless JPEG; Pillow expects it to, and
# then writes past its buffer.
_DCT_FRAMES: Final = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
# Sequential, or lossless: a scan that holds all components makes the pixels as it is read.
_ONE_PASS_FRAMES: Final = frozenset((0xC0, 0xC1, 0xC3, 0xC9, 0xCB))
# Bytes of a tRNS chunk by colour type: grey, RGB, palette.
_TRNS_SIZES: Final = {0: (2,), 2: (6,), 3: range(1, 257)}
# A BMP has at least 14 bytes of file header and 12 of the image's.
_BMP_HEADERS = 26
# Encoders write about ten scans; each costs a pass over all pixels however few bytes it has.
_MOST_SCANNED = 20
_SCAN_BYTES = 10  # at least, the marker and its parameters
# Segments, chunks or blocks: each costs Python a microsecond, here and again in Pillow. Encoders
# make at most 12,000 chunks of 100 MB, and 400,000 of a GIF's blocks.
_MOST_PARTS, _MOST_GIF_BLOCKS = 200_000, 500_000


class Stripped(NamedTuple):
    """What a decoder needs, how to turn the picture upright, and whether its end is there.

    `orientation` is 1 to 8 as in EXIF. `is_scalable` and `scans` are for JPEG: whether it may be
    decoded at 1/2, 1/4 or 1/8, and in how many scans, 0 if one pass over the file makes all the
    pixels and no coefficients need be kept.
    """

    content: bytes
    orientation: int
    is_whole: bool
    is_scalable: bool = False
    scans: int = 0


def strip_metadata(content: bytes, name: str, max_pixels: int) -> Stripped:
    """`content`, of the format `name`, as far as it makes the first picture.

    Raises:
        ImageError: truncated, corrupt, unsupported_format or too_many_pixels, by the header.
    """
    if name == "TIFF":
        turn = orientation(content)
        return Stripped(pixels_only(content, max_pixels), turn, is_whole(content))
    if name == "BMP":
        size = int.from_bytes(content[2:6], "little")
        return Stripped(content, 1, len(content) >= max(size, _BMP_HEADERS))
    strip: Callable[[bytes, int], Stripped] = _STRIPPERS[name]
    return strip(content, max_pixels)


def _jpeg(content: bytes, max_pixels: int) -> Stripped:
    kept, at, turn, pixels, components, frames = [content[:2]], 2, 0, 0, 0, []
    parts = _Parts("JPEG")
    while content[at : at + 1] == b"\xff" and at + 4 <= len(content):
        parts.add()
        marker = content[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if marker in _JPEG_BARE or marker == _START_OF_SCAN or end > len(content):
            break
        segment = content[at:end]
        if marker == _EXIF_SEGMENT and segment.startswith(b"Exif\0\0", 4) and not turn:
            turn = orientation(segment[4:])
        if marker in _FRAMES:
            frames.append(marker)
            pixels = int.from_bytes(segment[5:7], "big") * int.from_bytes(segment[7:9], "big")
            components = int.from_bytes(segment[9:10], "big")
        if marker not in _JPEG_METADATA and (marker not in _JPEG_COLOUR or len(segment) >= 16):
            kept.append(segment)
        at = end
    kept.append(content[at:])
    starts_scan = content[at : at + 2] == bytes((0xFF, _START_OF_SCAN))
    is_scalable = starts_scan and len(frames) == 1 and frames[0] in _DCT_FRAMES
    _check_scans(content, at, pixels or max_pixels, max_pixels)
    is_whole = content.rfind(b"\xff\xd9", at) >= 0
    in_first_scan = int.from_bytes(content[at + 4 : at + 5], "big")
    is_one_pass = in_first_scan == components and set(frames) <= _ONE_PASS_FRAMES
    scans = 0 if is_one_pass else content.count(b"\xff\xda", at)
    return Stripped(b"".join(kept), turn or 1, is_whole, is_scalable, scans)


class _Parts:
    """Counts the parts of a file, and refuses one that is nothing but parts."""

    def __init__(self, name: str, most: int = _MOST_PARTS) -> None:
        self._name, self._most, self._count = name, most, 0

    def add(self) -> None:
        self._count += 1
        if self._count > self._most:
            raise ImageError("corrupt", f"{self._name} in more than {self._most:,} parts")


def _check_scans(content: bytes, at: int, pixels: int, max_pixels: int) -> None:
    """Refuses a JPEG whose scans, from `at` to the end of the image, go over too many pixels."""
    most = _MOST_SCANNED * max_pixels // pixels
    if len(content) < most * _SCAN_BYTES or content.count(b"\xff\xda", at) <= most:
        return
    end = content.find(b"\xff\xd9", at)  # escaped within a scan, as is the start of one
    scans = content.count(b"\xff\xda", at, end if end >= 0 else None)
    if scans > most:
        raise too_many_pixels(f"JPEG with {scans:,} scans of {pixels:,}", max_pixels)


def _png(content: bytes, _: int) -> Stripped:
    kept, at, turn, is_whole = [content[:8]], 8, 1, False
    parts = _Parts("PNG")
    while at + 8 <= len(content) and not is_whole:
        parts.add()
        kind = content[at + 4 : at + 8]
        if not kind.isalpha():  # a wrong length led into the midst of something
            kept.append(content[at:])
            return Stripped(b"".join(kept), turn, is_whole=True)
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        is_critical = not kind[0] & 0x20
        if kind == b"eXIf":
            turn = orientation(content[at + 8 : end - 4])
        elif kind == b"tRNS":
            kept.append(_transparency_of_8_bits(content, at, end))
        elif is_critical:
            kept.append(content[at:end])
        is_whole = kind == b"IEND" and end <= len(content)
        at = end
    return Stripped(b"".join(kept), turn, is_whole)


def _transparency_of_8_bits(content: bytes, at: int, end: int) -> bytes:
    """The tRNS chunk with its value on the scale of the decoded pixels; Pillow has it as stored.

    For 16-bit colour that is the high byte. A broken one is left out, as libpng does.
    """
    depth, colour = content[24:26]
    body = content[at + 4 : end - 4]
    checksum = zlib.crc32(body).to_bytes(4, "big")
    if checksum != content[end - 4 : end] or len(body) - 4 not in _TRNS_SIZES.get(colour, ()):
        return b""
    if colour == 0 and depth < 8:
        value = int.from_bytes(body[4:6], "big") * 255 // (2**depth - 1)
        body = body[:4] + min(value, 255).to_bytes(2, "big")
    elif colour == 2 and depth == 16:
        body = body[:4] + bytes((0, body[4], 0, body[6], 0, body[8]))
    return content[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")


def _gif(content: bytes, max_pixels: int) -> Stripped:
    at = 13 + _gif_palette(content, 10)
    kept, control = [content[:at]], b""
    blocks = _Parts("GIF", _MOST_GIF_BLOCKS)
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
    return Stripped(b"".join(kept), 1, end <= len(content))


def _gif_palette(content: bytes, at: int) -> int:
    """Bytes of the palette that the flags at `at` announce."""
    flags = int.from_bytes(content[at : at + 1], "big")
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _gif_blocks_end(content: bytes, at: int, blocks: _Parts) -> int:
    """Where the chain of blocks at `at` ends; beyond the end of `content` if it does not."""
    blocks.add()
    while at < len(content) and content[at]:
        blocks.add()
        at += 1 + content[at]
    return at + 1


def _webp(content: bytes, max_pixels: int) -> Stripped:
    turn = 1
    for kind, at, size in _webp_chunks(content):
        if kind == b"VP8X":
            width, height = (
                1 + int.from_bytes(content[at + 4 + i : at + 7 + i], "little") for i in (0, 3)
            )
            if width * height > max_pixels:
                raise too_many_pixels(f"WEBP of {width} x {height}", max_pixels)
        elif kind == b"EXIF":
            turn = orientation(content[at : at + size])
    is_whole = len(content) >= 8 + int.from_bytes(content[4:8], "little")
    return Stripped(content, turn, is_whole)


def _webp_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and size of each chunk of a RIFF file."""
    at, parts = 12, _Parts("WEBP")
    while at + 8 <= len(content):
        parts.add()
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        yield content[at : at + 4], at + 8, size
        at += 8 + size + size % 2


_STRIPPERS: Final = {"JPEG": _jpeg, "PNG": _png, "GIF": _gif, "WEBP": _webp}
