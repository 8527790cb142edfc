"""A JPEG with noise where its scan may have a gap, to see whether the picture depends on it.

libjpeg lets Pillow know of no gap. It decodes zeros as they are, and makes mid-grey of whatever a
scan lacks at its end.
"""

import random
from typing import Final

from transforms.decoding.files.strip_jpeg import jpeg_segments

_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
_HUFFMAN_TABLES: Final = 0xC4
_SEQUENTIAL_FRAMES: Final = (0xC0, 0xC1)
_END_OF_BLOCK: Final = b"\0"
# Where zeros are the code of a coefficient, so many are blocks of nothing but the same one.
_HOLE: Final = bytes(64)
_NOISE: Final = random.Random(8).randbytes(1000).replace(b"\xff", b"\x7f")
# Decoding goes on behind the next restart marker, if the scan has any.
_NOISE_BEHIND: Final = _NOISE + b"".join(bytes((0xFF, 0xD0 + n)) + _NOISE for n in range(8))


def noise_behind(content: bytes) -> bytes:
    """With noise between the last scan and the end of the image, where no decoder should look."""
    end = _end_of_image(content)
    return content[:end] + _NOISE_BEHIND + content[end:]


def noise_in_hole(content: bytes) -> bytes | None:
    """With noise in place of the zeros that no encoder would have written; None without such.

    In a progressive JPEG, or where zeros are the code for the end of a block, one might have.
    """
    hole = content.find(_HOLE)
    if hole < 0:
        return None
    start, end = content.find(_START_OF_SCAN), _end_of_image(content)
    has_one_scan = content.count(_START_OF_SCAN, start, end) == 1
    if not start < hole < end or not has_one_scan or not _zeros_are_coefficients(content):
        return None
    rest = content[hole:end]
    zeros = len(rest) - len(rest.lstrip(b"\0"))
    noise = (_NOISE * (zeros // len(_NOISE) + 1))[:zeros]
    return content[:hole] + noise + content[hole + zeros :]


def _end_of_image(content: bytes) -> int:
    return content.find(_END_OF_IMAGE, content.find(_START_OF_SCAN))


def _zeros_are_coefficients(content: bytes) -> bool:
    """Whether zeros are the code of a coefficient in the first table for these."""
    segments = list(jpeg_segments(content))
    tables = b"".join(each.body for each in segments if each.marker == _HUFFMAN_TABLES)
    is_sequential = any(segment.marker in _SEQUENTIAL_FRAMES for segment in segments)
    at = 0
    # T.81 B.2.4.2: class and number, how many codes there are of each length, their symbols.
    while at + 17 < len(tables) and not tables[at] >> 4:
        at += 17 + sum(tables[at + 1 : at + 17])
    return is_sequential and tables[at + 17 : at + 18] not in (b"", _END_OF_BLOCK)
