"""The first directory of a TIFF file, or of EXIF, which is one: what it says and what is safe."""

import math
import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from transforms.failures import ImageError, too_many_pixels

# TIFF 6.0 section 2 and BigTIFF: the types of numbers, and of values of more than a byte.
_INTEGERS: Final = {
    1: "B",
    3: "H",
    4: "I",
    6: "b",
    8: "h",
    9: "i",
    13: "I",
    16: "Q",
    17: "q",
    18: "Q",
}
_FLOATS: Final = {11: "f", 12: "d"}
_SIZES: Final = {3: 2, 8: 2, 4: 4, 9: 4, 11: 4, 13: 4, 5: 8, 10: 8, 12: 8, 16: 8, 17: 8, 18: 8}
_BYTES: Final = (1, 2, 6, 7)
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
ORIENTATION, PLANAR, SAMPLE_FORMAT = 274, 284, 339
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_SIZES, _EXTRA = 273, 277, 278, 279, 338
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES = 322, 323, 324, 325
# Whatever has a say in the pixels. EXIF, GPS, profiles and notes have none, and the turn is ours:
# Pillow's makes two copies of the image.
_OF_PIXELS: Final = frozenset(
    {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLE_FORMAT}
    | {_STRIP_OFFSETS, _ROWS_PER_STRIP, _STRIP_SIZES}
    | {_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES}
    # Bit order, samples, planes, fax options, predictor, palette, alpha.
    | {266, _SAMPLES, PLANAR, 292, 293, 317, 320, _EXTRA}
    # JPEG tables, old JPEG, YCbCr.
    | {347, *range(512, 522), *range(529, 533)}
)
# None, CCITT, LZW, JPEG, deflate, PackBits, ThunderScan, LZMA, Zstandard.
_COMPRESSIONS: Final = (1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34925, 50000)
# A palette of 16 bits, or a strip for each row of 65,000 in three planes. Each takes Pillow 5 us.
_MOST_VALUES: Final = 200_000
# Those of colours, of which each rational takes Pillow 2 us.
_REALS, _MOST_REALS = (5, 10, 11, 12), 16
# How a counter, an entry and a pointer are stored.
_LAYOUT, _BIG_LAYOUT = ("H", "HHI4s", "I"), ("Q", "HHQ8s", "Q")
_MOST_ENTRIES: Final = 65_535  # as many as can be counted but in BigTIFF
_OLD_JPEG, _YCBCR, _IN_PLANES, _DEEP = 6, 6, 2, 16
_MOST_BANDS: Final = 6  # that Pillow knows


class Directory(NamedTuple):
    """Entries as stored, by tag: type, count, and the value or where it lies."""

    order: str
    is_big: bool
    is_whole: bool
    next_at: int
    entries: Mapping[int, tuple[int, int, bytes]]


def read_directory(content: bytes, at: int = 0, most: int = _MOST_ENTRIES) -> Directory | None:
    """The first `most` entries of the directory at `at`, or of the first one.

    As far as they are there; None if it does not begin.
    """
    if content[:2] not in (b"II", b"MM"):
        return None
    order = "<" if content[:2] == b"II" else ">"
    is_big = b"\x2b" in content[2:4]
    counter, layout, pointer = _BIG_LAYOUT if is_big else _LAYOUT
    try:
        at = at or struct.unpack_from(order + pointer, content, 8 if is_big else 4)[0]
        (count,) = struct.unpack_from(order + counter, content, at)
        at, size = at + struct.calcsize(counter), struct.calcsize(order + layout)
        found = min(count, most, (len(content) - at) // size)
        end = at + found * size
        rows = struct.iter_unpack(order + layout, content[at:end])
        next_at = int.from_bytes(
            content[end : end + struct.calcsize(pointer)], "little" if order == "<" else "big"
        )
        entries = {tag: (*rest,) for tag, *rest in rows}
        return Directory(order, is_big, found == count, next_at, entries)
    except (struct.error, OverflowError):
        return None


def numbers(content: bytes, directory: Directory, tag: int) -> tuple[int, ...]:
    """The integers of one entry; empty if there are none, or beyond the end of the file."""
    return _unpacked(content, directory, tag, _INTEGERS)


def reals(content: bytes, directory: Directory, tag: int) -> tuple[float, ...]:
    """As `numbers`, for floats as well."""
    return _unpacked(content, directory, tag, _INTEGERS | _FLOATS)


def _unpacked(
    content: bytes, directory: Directory, tag: int, letters: Mapping[int, str]
) -> tuple[Any, ...]:
    kind, count, value = directory.entries.get(tag, (0, 0, b""))
    letter = letters.get(kind)
    if letter is None or count > _MOST_VALUES:
        return ()
    layout = f"{directory.order}{count}{letter}"
    at = _value_offset(directory, tag)
    if at is None:
        return struct.unpack_from(layout, value)
    return struct.unpack_from(layout, content, at) if _is_there(content, directory, tag) else ()


def stored_bytes(content: bytes, directory: Directory, tag: int) -> bytes:
    """The value of one entry of single bytes; empty if there is none."""
    kind, count, value = directory.entries.get(tag, (0, 0, b""))
    if kind not in _BYTES:
        return b""
    at = _value_offset(directory, tag)
    return value[:count] if at is None else content[at : at + count]


def pixels_only(content: bytes, max_pixels: int) -> bytes:
    """The file with a first directory of nothing but what makes the pixels of the first page.

    Every entry of a directory may claim the whole file as its value, and readers that load them
    all need 65,535 times its size; entries of other pages and of EXIF are not even looked at.

    Raises:
        ImageError: truncated, corrupt, unsupported_format or too_many_pixels.
    """
    directory = read_directory(content)
    if directory is None or not directory.is_whole:
        raise ImageError("truncated", f"TIFF of {len(content):,} bytes ends before its directory")
    _check(content, directory, max_pixels)
    tags = sorted(_OF_PIXELS & directory.entries.keys())
    if _one(content, directory, _SAMPLES, default=1) == 1:
        tags = [tag for tag in tags if tag != PLANAR]  # which Pillow does not expect of one band
    kept = [(t, directory.entries[t]) for t in tags if _is_there(content, directory, t)]
    order, is_big = directory.order, directory.is_big
    counter, layout, pointer = _BIG_LAYOUT if is_big else _LAYOUT
    padding = bytes(-len(content) % 8)
    table = b"".join(struct.pack(order + layout, tag, *entry) for tag, entry in kept)
    magic = struct.pack(order + "HHH", 43, 8, 0) if is_big else struct.pack(order + "H", 42)
    first = struct.pack(order + pointer, len(content) + len(padding))
    head = content[:2] + magic + first
    table = struct.pack(order + counter, len(kept)) + table + struct.pack(order + pointer, 0)
    return b"".join((head, memoryview(content)[len(head) :], padding, table))


def is_whole(content: bytes) -> bool:
    """Whether the first directory, its values and all its strips or tiles lie within the file."""
    directory = read_directory(content)
    if directory is None or not directory.is_whole:
        return False
    tags = _OF_PIXELS & directory.entries.keys()
    if not all(_is_there(content, directory, tag) for tag in tags):
        return False
    for offsets_tag, sizes_tag in ((_STRIP_OFFSETS, _STRIP_SIZES), (_TILE_OFFSETS, _TILE_SIZES)):
        offsets = numbers(content, directory, offsets_tag)
        sizes = numbers(content, directory, sizes_tag)
        if any(at + size > len(content) for at, size in zip(offsets, sizes, strict=False)):
            return False
    return not _has_short_strip(content, directory)


def _has_short_strip(content: bytes, directory: Directory) -> bool:
    """Whether the next strip begins where a strip that is not compressed has not all its rows."""
    is_compressed = _one(content, directory, COMPRESSION, 1) != 1
    is_sampled = _one(content, directory, PHOTOMETRIC) == _YCBCR
    if is_compressed or is_sampled or _one(content, directory, PLANAR, 1) == _IN_PLANES:
        return False
    bits, bands = numbers(content, directory, BITS) or (1,), _one(content, directory, _SAMPLES, 1)
    row = math.ceil(_one(content, directory, WIDTH) * bits[0] * bands / 8)
    needed = row * _one(content, directory, _ROWS_PER_STRIP)
    starts = numbers(content, directory, _STRIP_OFFSETS)
    sizes = numbers(content, directory, _STRIP_SIZES)
    return any(
        size < needed and at < after < at + needed
        for at, size, after in zip(starts, sizes, starts[1:], strict=False)
    )


def _value_offset(directory: Directory, tag: int) -> int | None:
    """Where the value of an entry lies; None if it is small enough to stand in the entry."""
    kind, count, value = directory.entries[tag]
    if count * _SIZES.get(kind, 1) <= len(value):
        return None
    (at,) = struct.unpack(directory.order + ("Q" if directory.is_big else "I"), value)
    return at


def _is_there(content: bytes, directory: Directory, tag: int) -> bool:
    """Whether the value of an entry lies within the file."""
    kind, count, _ = directory.entries[tag]
    at = _value_offset(directory, tag)
    return at is None or at + count * _SIZES.get(kind, 1) <= len(content)


def _check(content: bytes, directory: Directory, max_pixels: int) -> None:
    for tag, (kind, count, _) in directory.entries.items():
        most = _MOST_REALS if kind in _REALS else _MOST_VALUES
        if tag in _OF_PIXELS and count > most:
            what = f"TIFF with {count:,} values of tag {tag}, more than {most:,}"
            raise ImageError("unsupported_format", f"{what}; re-save it")
    if directory.is_big and directory.order == ">":
        raise ImageError("unsupported_format", "BigTIFF with its bytes in big-endian order")
    compression = _one(content, directory, COMPRESSION, default=1)
    if compression not in _COMPRESSIONS:
        raise ImageError("unsupported_format", f"TIFF with compression {compression}; re-save it")
    _check_bands(content, directory, is_compressed=compression != 1)
    width, height = _one(content, directory, WIDTH), _one(content, directory, HEIGHT)
    tile_width = _one(content, directory, _TILE_WIDTH, default=width) or 1
    tile_height = _one(content, directory, _TILE_HEIGHT)
    if tile_width * tile_height > max_pixels:
        raise too_many_pixels(f"TIFF with tiles of {tile_width} x {tile_height}", max_pixels)
    rows = tile_height or _one(content, directory, _ROWS_PER_STRIP, default=height) or 1
    needed = math.ceil(width / tile_width) * math.ceil(height / rows)
    offsets = (directory.entries.get(tag) for tag in (_STRIP_OFFSETS, _TILE_OFFSETS))
    given = max((entry[1] for entry in offsets if entry), default=0)
    if given < needed and compression != _OLD_JPEG:  # whose pixels need no strips
        raise ImageError(
            "corrupt", f"TIFF with {given:,} of the {needed:,} strips or tiles it needs"
        )


def _check_bands(content: bytes, directory: Directory, is_compressed: bool) -> None:
    """Refuses what Pillow does not know, or mistakes: it reads planes that are not compressed."""
    bands = _one(content, directory, _SAMPLES, default=1)
    extra = numbers(content, directory, _EXTRA)
    is_in_planes = _one(content, directory, PLANAR) == _IN_PLANES and bands > 1
    has_unused = is_in_planes and extra and not any(extra)
    if (
        is_in_planes
        and not is_compressed
        and (has_unused or _DEEP in numbers(content, directory, BITS))
    ):
        what = "TIFF in planes of 16 bits or with planes of unknown use, not compressed"
        raise ImageError("unsupported_format", f"{what}; re-save it")
    if bands - len(extra) * bool(has_unused) > _MOST_BANDS:
        raise ImageError("unsupported_format", f"TIFF of {bands:,} bands; save three of them")


def _one(content: bytes, directory: Directory, tag: int, default: int = 0) -> int:
    found = numbers(content, directory, tag)
    return found[0] if found else default
