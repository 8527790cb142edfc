"""Pillow's reader of TIFF, which raises what libtiff says of strips that it could not read in full.

libtiff makes do with less than it should get, and only says so, to a function that is one for the
whole process: TIFF is decoded in processes that decode one image at a time.
"""

import ctypes
import re
from functools import partial
from typing import TYPE_CHECKING, Final

from PIL import _imaging
from PIL.TiffImagePlugin import TiffImageFile

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess

# In the words of libtiff and libjpeg: data that ends before its pixels do. Group 3 of fax is tried
# without the marks for the ends of lines when no more of them come.
_LACKING: Final = re.compile(
    r"[Nn]ot enough data|not terminated with EOI|ZLib error: $|truncated|[Pp]remature end of"
    r"|Improper JPEG strip|Premature EOF|Fax4Decode: Premature EOL|got 0, expected"
    r"|without EOL at line [1-9]"
)
_OF_MEMORY: Final = re.compile(
    r"[Oo]ut of memory|not enough memory|[Cc]annot allocate|[Ff]ailed to allocate|No space for"
    r"|require libjpeg to allocate"
)
_NO_MEMORY: Final = "decoder error -9"
_LONGEST_LINE: Final = 200

# What libtiff said since an image began to be decoded: its first error, and the first words of
# lacking data or memory.
_said: dict[str, str] = {}


class TiffReader(TiffImageFile):
    """Loads a TIFF whole or not at all."""

    def load(self) -> "PixelAccess | None":
        """Decodes.

        Raises:
            MemoryError: a strip or tile needs more than there is.
            OSError: what libtiff says of a strip.
            Exception: almost any, by Pillow.
        """
        if not self.tile:  # Pillow calls this once more when it has loaded
            return super().load()
        _said.clear()
        try:
            pixels = super().load()
        except OSError as error:
            if str(error).endswith(_NO_MEMORY):
                raise MemoryError from error
            if not _said:
                raise
            raise _as_error() from error
        if _said:
            raise _as_error()
        return pixels


def _as_error() -> Exception:
    """What was said, the most telling of it."""
    if "memory" in _said:
        return MemoryError(_said["memory"])
    return OSError(_said.get("lacking") or _said["error"])


_c_library: Final = ctypes.CDLL(None)
_Handler: Final = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
_Opened: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _hear(source: bytes | None, layout: bytes, values: int, *, is_error: bool) -> None:
    """`layout` and `values` are what vprintf takes."""
    buffer = ctypes.create_string_buffer(_LONGEST_LINE)
    _c_library.vsnprintf(buffer, ctypes.c_size_t(_LONGEST_LINE), layout, ctypes.c_void_p(values))
    module, line = (words.decode(errors="replace") for words in (source or b"", buffer.value))
    if _OF_MEMORY.search(line):
        _said.setdefault("memory", line)
    elif _LACKING.search(f"{module}: {line}"):
        _said.setdefault("lacking", f"image file is truncated: {line}")
    elif is_error:
        _said.setdefault("error", line)


_libraries: Final = ctypes.CDLL(_imaging.__file__)
_on_error: Final = _Handler(partial(_hear, is_error=True))
_on_warning: Final = _Handler(partial(_hear, is_error=False))
# Pillow takes the handler of warnings away just before libtiff opens a file.
_on_opened: Final = _Opened(lambda _: _libraries.TIFFSetWarningHandler(_on_warning))

# Without these libtiff prints; Pillow links it but has no switch for that.
if hasattr(_libraries, "TIFFSetErrorHandler"):
    _libraries.TIFFSetErrorHandler(_on_error)
    _libraries.TIFFSetTagExtender(_on_opened)
