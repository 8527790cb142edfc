"""Camera raws that begin as a TIFF, whose first directory is only a thumbnail of the picture."""

from collections.abc import Iterator
from typing import Final

from transforms.decoding.files.tiff_directory import (
    COMPRESSION,
    PHOTOMETRIC,
    WIDTH,
    Directory,
    numbers,
    read_directory,
    stored_bytes,
)

_MAKE, _SUB_DIRECTORIES, _DNG_VERSION = 271, 330, 50706
# What a directory holds, by its new and its old tag: bit 0, or 2, is a reduced image; bit 2 a mask.
_NEW_KIND, _OLD_KIND = 254, 255
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2
# PhotometricInterpretation: a colour filter array, and DNG's linear raw.
_UNDEVELOPED: Final = frozenset((32803, 34892))
# Compressions of Sony, Samsung, Nikon, Kodak and Pentax.
_OF_CAMERAS: Final = frozenset((32767, 32769, 32770, 34713, 65000, 65535))
# What stands eight bytes from the start of the file.
_MARKS: Final = {b"CR": "Canon raw", b"IIII": "Phase One raw", b"MMMM": "Phase One raw"}
_MAKERS: Final = (
    *("Canon", "Epson", "Hasselblad", "Kodak", "Leaf", "Leica", "Mamiya", "Nikon", "Olympus"),
    *("Panasonic", "Pentax", "Phase One", "Ricoh", "Samsung", "Sony"),
)
# Cameras write about five directories of fewer than 100 entries.
_MOST_DIRECTORIES, _MOST_ENTRIES = 20, 1000


def name_raw(content: bytes) -> str | None:
    """The format of a TIFF whose first directory is not its picture; None for any other TIFF."""
    mark = next((name for mark, name in _MARKS.items() if content.startswith(mark, 8)), None)
    first = read_directory(content)
    if mark or first is None:
        return mark
    if len(numbers(content, first, _DNG_VERSION)) == 4:
        return "DNG"
    others = list(_others(content, first))
    is_thumbnail = _is_reduced(content, first) and any(_is_full(content, one) for one in others)
    is_raw = any(_is_undeveloped(content, one) for one in (first, *others))
    if not is_thumbnail and not is_raw:
        return None
    make = stored_bytes(content, first, _MAKE)[:40].decode("latin-1").lower()
    maker = next((maker for maker in _MAKERS if maker.lower() in make), None)
    if maker:
        return f"{maker} raw"
    return "camera raw" if is_raw else "TIFF that begins with a thumbnail"


def _others(content: bytes, first: Directory) -> Iterator[Directory]:
    """The directories of further pages and those below the first one."""
    below = [at for at in numbers(content, first, _SUB_DIRECTORIES) if at > 0]
    at = first.next_at
    for _ in range(_MOST_DIRECTORIES):
        at = at or (below.pop() if below else 0)
        directory = read_directory(content, at, _MOST_ENTRIES) if at else None
        at = directory.next_at if directory else 0
        if directory:
            yield directory


def _is_reduced(content: bytes, directory: Directory) -> bool:
    kind, old_kind = (numbers(content, directory, tag) for tag in (_NEW_KIND, _OLD_KIND))
    return bool(kind[0] & _REDUCED) if kind else old_kind[:1] == (_OLD_REDUCED,)


def _is_full(content: bytes, directory: Directory) -> bool:
    kind = numbers(content, directory, _NEW_KIND)
    is_mask = bool(kind and kind[0] & _MASK)
    return WIDTH in directory.entries and not is_mask and not _is_reduced(content, directory)


def _is_undeveloped(content: bytes, directory: Directory) -> bool:
    photometric = numbers(content, directory, PHOTOMETRIC)[:1]
    compression = numbers(content, directory, COMPRESSION)[:1]
    return not _UNDEVELOPED.isdisjoint(photometric) or not _OF_CAMERAS.isdisjoint(compression)
