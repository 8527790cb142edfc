"""Pillow's readers, which raise where a decoder ended without an error before the last pixel.

What a decoder leaves out shows what was there before. So where the last pixels look like that, the
image is decoded once more over something else, and is truncated if that shows.
"""

import io
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from transforms.decoding.jpeg_gaps import noise_behind, noise_in_hole
from transforms.decoding.tiff_reader import TiffReader

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess

# What is put where the last pixels will be, first and for a second look: no colour of a picture, as
# a rule.
_GROUND, _OTHER_GROUND = (165, 90, 214, 37), (90, 214, 37, 165)
# libjpeg makes mid-grey of what it lacks, give or take the conversion of colours.
_MID_GREY: Final = range(127, 130)
_BAND_PIXELS: Final = 1_000_000


class _CheckedReader(ImageFile):
    """A reader that looks twice where pixels may be missing."""

    _is_second_look = False

    def load(self) -> "PixelAccess | None":
        """Decodes.

        Raises:
            OSError: pixels are missing.
            Exception: almost any, by Pillow.
        """
        stream = self.fp if self.tile and not self._is_second_look else None
        super().load()
        other = self._on_other_ground(stream.getvalue()) if isinstance(stream, io.BytesIO) else None
        if other is not None:
            first = self._trace()
            self.im = Image.new(self.mode, (1, 1)).im  # there may be no memory for two
            other._is_second_look = True
            other.load()
            if other._trace() != first:
                raise OSError("image file is truncated: it lacks pixels")
            self.im = other.im
        return super().load()

    def _on_other_ground(self, content: bytes) -> Self | None:
        """The image once more, to be loaded, if it may lack pixels."""
        raise NotImplementedError

    def _trace(self) -> Any:
        """What differs between both looks if pixels are missing."""
        raise NotImplementedError


class _MarkedReader(_CheckedReader):
    """For a decoder that leaves the memory of a pixel as it is where the file has none."""

    _ground = _GROUND

    def load_prepare(self) -> None:
        """Marks four pixels, one of which comes last in any order of rows and passes."""
        super().load_prepare()
        left, top, right, bottom = self.tile[0].extents or (0, 0, *self.size)
        columns, rows = range(max(left, right - 2), right), range(max(top, bottom - 2), bottom)
        self._last_pixels = [(x, y) for x in columns for y in rows]
        for place in self._last_pixels:
            self.im.putpixel(place, self._ink)

    @property
    def _ink(self) -> int | tuple[int, ...]:
        bands: int = self.im.bands
        return self._ground[0] if bands == 1 else self._ground[:bands]

    def _on_other_ground(self, content: bytes) -> Self | None:
        if self._ink not in self._trace():
            return None
        other = type(self)(io.BytesIO(content))
        other._ground = _OTHER_GROUND
        return other

    def _trace(self) -> list[object]:
        return [self.im.getpixel(place) for place in self._last_pixels]


class _Png(_MarkedReader, PngImageFile):
    """zlib's stream may end with any row."""


class _Gif(_MarkedReader, GifImageFile):
    """The code for the end may stand anywhere."""


class _Jpeg(_CheckedReader, JpegImageFile):
    """libjpeg fills up with grey, and decodes zeros as if they were coefficients."""

    _drafted: tuple[str | None, tuple[int, int]] | None = None

    def draft(
        self, mode: str | None, size: tuple[int, int] | None
    ) -> tuple[str, tuple[int, int, float, float]] | None:
        """As Pillow does, and the same for a second look."""
        self._drafted = (mode, size) if size else None
        return super().draft(mode, size)

    def _on_other_ground(self, content: bytes) -> Self | None:
        noisy = noise_in_hole(content)
        if noisy is None and self._ends_in_grey():
            noisy = noise_behind(content)
        if noisy is None:
            return None
        other = type(self)(io.BytesIO(noisy))
        if self._drafted:
            other.draft(*self._drafted)
        return other

    def _ends_in_grey(self) -> bool:
        last = self.im.getpixel((self.width - 1, self.height - 1))
        return all(value in _MID_GREY for value in (last if isinstance(last, tuple) else (last,)))

    def _trace(self) -> int:
        """A checksum of the pixels."""
        rows, checksum = max(1, _BAND_PIXELS // self.width), 0
        for top in range(0, self.height, rows):
            band = self.crop((0, top, self.width, min(self.height, top + rows)))
            checksum = zlib.crc32(band.tobytes(), checksum)
        return checksum


READERS: Final[Mapping[str, type[ImageFile]]] = {
    "JPEG": _Jpeg,
    "PNG": _Png,
    "GIF": _Gif,
    "BMP": BmpImageFile,
    "WEBP": WebPImageFile,
    "TIFF": TiffReader,
}
