"""How a stored picture must be turned to stand upright, by whatever its file carries."""

import re
from typing import Final

from transforms.decoding.files.tiff_directory import ORIENTATION, numbers, read_directory

UPRIGHT: Final = 1
_EXIF_PREFIX: Final = b"Exif\0\0"
# As an attribute, tiff:Orientation="6", or as an element, <tiff:Orientation>6</tiff:Orientation>.
_IN_XMP: Final = re.compile(rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*([0-9])(?![0-9])""")
# A profile as ImageMagick writes it into a text: kind, number of bytes, the bytes in hexadecimal.
_RAW_PROFILE: Final = re.compile(rb"\s*\w+\s+[0-9]+\s+([0-9a-fA-F\s]*)")


def orientation(*exif: bytes, xmp: bytes = b"") -> int:
    """1 to 8 as in EXIF 2.32, tag 0x0112; 1, upright, where nothing can be read.

    The first EXIF that has an orientation decides, else XMP. An orientation that is none of 1 to 8
    decides as well, for upright. `PIL.ImageOps.exif_transpose` follows the same order.
    """
    found = (_of_exif(directory) for directory in exif)
    turn = next((one for one in found if one is not None), None)
    if turn is None:
        match = _IN_XMP.search(xmp)
        turn = int(match[1]) if match else UPRIGHT
    return turn if 1 <= turn <= 8 else UPRIGHT


def unhexed(raw_profile: bytes) -> bytes:
    """The profile within a "Raw profile type" text of a PNG; empty if there is none."""
    match = _RAW_PROFILE.match(raw_profile)
    digits = b"".join(match[1].split()) if match else b""
    return bytes.fromhex(digits[: len(digits) // 2 * 2].decode())


def _of_exif(exif: bytes) -> int | None:
    exif = exif.removeprefix(_EXIF_PREFIX)
    directory = read_directory(exif)
    found = numbers(exif, directory, ORIENTATION) if directory else ()
    return found[0] if found else None
