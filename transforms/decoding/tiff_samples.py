"""TIFF of any depth and layout of samples, where Pillow knows no pixel mode for it.

Compression of bytes does not care what the bytes mean. So Pillow and its libtiff are handed the
strips or tiles as grey of 8 bits, as wide as a row has bytes, and NumPy makes samples of those.
"""

import io
import math
import struct
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from transforms.decoding.colour import to_rgb
from transforms.decoding.tiff_directory import (
    BITS,
    COMPRESSION,
    HEIGHT,
    PHOTOMETRIC,
    SAMPLE_FORMAT,
    WIDTH,
    numbers,
    read_directory,
)

Samples = NDArray[np.float64]

# None, LZW, deflate (two numbers), PackBits, LZMA, Zstandard.
_OF_BYTES: Final = (1, 5, 8, 32773, 32946, 34925, 50000)
_FILL_ORDER, _SAMPLES, _PLANAR, _PREDICTOR, _COLOUR_MAP, _EXTRA = 266, 277, 284, 317, 320, 338
_STRIPS, _TILES = (273, 279), (324, 325)
_ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT = 278, 322, 323
# TIFF 6.0, PhotometricInterpretation: samples without the extra ones.
_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _PALETTE, _CMYK, _LAB = 0, 1, 2, 3, 5, 8
_COLOURS: Final = {_MIN_IS_WHITE: 1, _MIN_IS_BLACK: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _LAB: 3}
_FLOAT: Final = 3
_HORIZONTAL, _FLOATING = 2, 3
_ASSOCIATED, _UNASSOCIATED = 1, 2
_BAND_SAMPLES: Final = 500_000


def is_mistaken_by_pillow(image: ImageFile) -> bool:
    """Whether it is one that Pillow opens but shows wrongly: planes of 16 bits, not compressed."""
    if not isinstance(image, TiffImageFile) or image.tile[0].codec_name != "raw":
        return False
    return image.tag_v2.get(_PLANAR) == 2 and 16 in image.tag_v2.get(BITS, ())


class SampledTiff:
    """A TIFF whose directory was read."""

    def __init__(self, content: bytes) -> None:
        """`content` as `pixels_only` leaves it.

        Raises:
            OSError: its samples cannot be read here either.
        """
        directory = read_directory(content)
        assert directory is not None
        self._content, self._directory = content, directory
        self.size = self._one(WIDTH), self._one(HEIGHT)
        self._bits, self._samples = self._one(BITS, 1), self._one(_SAMPLES, 1)
        self._photometric = self._one(PHOTOMETRIC, _MIN_IS_BLACK)
        self._kind, self._predictor = self._one(SAMPLE_FORMAT, 1), self._one(_PREDICTOR, 1)
        self._is_planar = self._one(_PLANAR, 1) == 2
        depths = set(self._all(BITS) or (1,))
        colours = _COLOURS.get(self._photometric, 99)
        if (
            self._one(COMPRESSION, 1) not in _OF_BYTES
            or not colours <= self._samples <= colours + 4
            or len(depths) > 1
            or not 0 < self._bits <= 64
            or (self._kind == _FLOAT and self._bits not in (16, 24, 32, 64))
            or (self._predictor != 1 and self._bits not in (8, 16, 32, 64))
            or (self._photometric == _PALETTE and self._bits > 16)
            or 0 in self.size
        ):
            raise OSError("unknown pixel mode")

    @property
    def memory(self) -> int:
        """Bytes that `rgb` takes."""
        width, height = self.size
        return width * height * (4 + 2 * math.ceil(self._samples * self._bits / 8))

    def rgb(self) -> Image.Image:
        """The picture, transparency over white."""
        width, height = self.size
        planes = [self._plane(number) for number in range(self._samples if self._is_planar else 1)]
        rows = max(1, _BAND_SAMPLES // (width * self._samples))
        bands = [(top, min(height, top + rows)) for top in range(0, height, rows)]

        def samples(band: tuple[int, int]) -> Samples:
            return np.concatenate([self._unpacked(p[slice(*band)]) for p in planes], axis=2)

        black, white = self._range(map(samples, bands))
        picture = Image.new("RGB", self.size)
        for band in bands:
            with np.errstate(invalid="ignore"):
                scaled = np.nan_to_num((samples(band) - black) * (255 / ((white - black) or 1)))
            picture.paste(self._coloured(scaled.clip(0, 255)), (0, band[0]))
        return picture

    def _range(self, bands: Iterator[Samples]) -> tuple[float, float]:
        """What becomes 0 and 255: for floats the least usual range that holds all of them."""
        if self._photometric == _PALETTE:
            return 0.0, 255.0
        if self._kind != _FLOAT:
            return 0.0, float(2**self._bits - 1)
        finite = [band[np.isfinite(band)] for band in bands]
        low = min((float(band.min()) for band in finite if band.size), default=0.0)
        high = max((float(band.max()) for band in finite if band.size), default=0.0)
        holding = [top for top in (1.0, 255.0, 65535.0) if low >= 0 and high <= top]
        return (0.0, holding[0]) if holding else (low, high)

    def _coloured(self, values: Samples) -> Image.Image:
        """[rows, columns, samples], 0..255, or indices, to RGB."""
        colours = values[..., : _COLOURS[self._photometric]]
        size = colours.shape[1::-1]
        if self._photometric == _PALETTE:
            table = np.array(self._all(_COLOUR_MAP) or (0,) * 3, np.uint16).reshape(3, -1).T // 256
            index = colours[..., 0].astype(np.int64).clip(0, len(table) - 1)
            rgb = table[index].astype(np.float64)
        elif self._photometric in (_CMYK, _LAB):
            mode = "CMYK" if self._photometric == _CMYK else "LAB"
            stored = Image.frombytes(mode, size, colours.round().astype(np.uint8).tobytes())
            rgb = np.asarray(to_rgb(stored)).astype(np.float64)
        else:
            grey = 255 - colours if self._photometric == _MIN_IS_WHITE else colours
            rgb = np.broadcast_to(grey, (*grey.shape[:2], 3))
        extra = self._one(_EXTRA)
        if extra in (_ASSOCIATED, _UNASSOCIATED) and self._photometric != _PALETTE:
            alpha = values[..., colours.shape[2] :][..., :1] / 255
            rgb = (rgb if extra == _ASSOCIATED else rgb * alpha) + 255 * (1 - alpha)
        return Image.fromarray(rgb.clip(0, 255).round().astype(np.uint8))

    def _unpacked(self, plane: NDArray[np.uint8]) -> Samples:
        """[rows, bytes] to [rows, columns, samples]; each tile starts its rows on a byte."""
        samples = 1 if self._is_planar else self._samples
        across = self._one(_TILE_WIDTH) or self.size[0]
        length = math.ceil(across * samples * self._bits / 8)
        tiles = [
            self._values(plane[:, at : at + length], across, samples)
            for at in range(0, plane.shape[1], length)
        ]
        return np.concatenate(tiles, axis=1)[:, : self.size[0]]

    def _values(self, stored: NDArray[np.uint8], across: int, samples: int) -> Samples:
        shape = len(stored), across, samples
        order, bits = self._directory.order, self._bits
        if bits in (8, 16, 32, 64):
            letter = "f" if self._kind == _FLOAT and bits > 8 else "u"
            if self._predictor == _FLOATING:
                stored = _undo_floating(stored, samples, bits // 8)
                order = ">"
            packed = np.ascontiguousarray(stored)
            if self._predictor == _HORIZONTAL:
                steps = packed.view(f"{order}u{bits // 8}").astype(f"u{bits // 8}").reshape(shape)
                sums = np.cumsum(steps, axis=1, dtype=steps.dtype)
                values = sums.view(f"{letter}{bits // 8}")
            else:
                values = packed.view(f"{order}{letter}{bits // 8}").reshape(shape)
            values = values.astype(np.float64)
        else:
            values = _of_bits(stored, across * samples, bits, order).reshape(shape)
            if self._kind == _FLOAT:
                values = _of_24_bits(values)
        return values

    def _plane(self, number: int) -> NDArray[np.uint8]:
        """The bytes of all rows, of one sample where each has a plane of its own."""
        width, height = self.size
        samples = 1 if self._is_planar else self._samples
        tile_width, tile_height = self._one(_TILE_WIDTH), self._one(_TILE_HEIGHT)
        length = math.ceil((tile_width or width) * samples * self._bits / 8)
        across = math.ceil(width / tile_width) if tile_width else 1
        rows = tile_height or min(self._one(_ROWS_PER_STRIP, height) or height, height)
        count = across * math.ceil(height / rows)
        offsets, sizes = (
            self._all(tag)[number * count : (number + 1) * count]
            for tag in (_TILES if tile_width else _STRIPS)
        )
        layout = {_TILE_WIDTH: (length,), _TILE_HEIGHT: (rows,)} if tile_width else {}
        tags = {
            WIDTH: (across * length,),
            HEIGHT: (height,),
            BITS: (8,),
            COMPRESSION: (self._one(COMPRESSION, 1),),
            PHOTOMETRIC: (_MIN_IS_BLACK,),
            _FILL_ORDER: (self._one(_FILL_ORDER, 1),),
            _SAMPLES: (1,),
            **({} if tile_width else {_ROWS_PER_STRIP: (rows,)}),
            **layout,
            (_TILES if tile_width else _STRIPS)[0]: offsets,
            (_TILES if tile_width else _STRIPS)[1]: sizes,
        }
        with TiffImageFile(io.BytesIO(_with_directory(self._content, tags))) as image:
            return np.asarray(image)

    def _one(self, tag: int, default: int = 0) -> int:
        return (*self._all(tag), default)[0]

    def _all(self, tag: int) -> tuple[int, ...]:
        return numbers(self._content, self._directory, tag)


def _with_directory(content: bytes, tags: dict[int, tuple[int, ...]]) -> bytes:
    """`content` with a directory of nothing but these numbers."""
    order = "<" if content[:2] == b"II" else ">"
    at = len(content) + len(content) % 2
    values, table = b"", struct.pack(order + "H", len(tags))
    after = at + 2 + 12 * len(tags) + 4
    for tag, row in sorted(tags.items()):
        stored = struct.pack(f"{order}{len(row)}I", *row)
        if len(row) > 1:
            stored, values = struct.pack(order + "I", after + len(values)), values + stored
        table += struct.pack(order + "HHI", tag, 4, len(row)) + stored
    head = content[:2] + struct.pack(order + "HI", 42, at)
    return b"".join(
        (head, memoryview(content)[8:], bytes(len(content) % 2), table, bytes(4), values)
    )


def _of_bits(stored: NDArray[np.uint8], count: int, bits: int, order: str) -> Samples:
    """Samples of any number of bits, packed from the high bit on; 24 in the order of the file."""
    if bits == 24 and order == "<":
        stored = stored[:, : count * 3].reshape(len(stored), count, 3)[..., ::-1]
        stored = stored.reshape(len(stored), -1)
    single = np.unpackbits(stored, axis=1)[:, : count * bits].reshape(len(stored), count, bits)
    return single @ (2.0 ** np.arange(bits - 1, -1, -1))


def _of_24_bits(values: Samples) -> Samples:
    """Floats of a sign, 7 bits of exponent and 16 of fraction, from the integers of their bits."""
    whole = values.astype(np.int64)
    exponent, fraction = whole >> 16 & 0x7F, whole & 0xFFFF
    found = (1 + fraction / 65536) * 2.0 ** (exponent - 63)
    return np.where(exponent == 0, 0.0, np.where(whole >> 23, -found, found))


def _undo_floating(stored: NDArray[np.uint8], samples: int, size: int) -> NDArray[np.uint8]:
    """Adobe's predictor for floats: differences of bytes, all high bytes of a row first."""
    steps = stored.reshape(len(stored), -1, samples)
    summed = np.cumsum(steps, axis=1, dtype=np.uint8).reshape(len(stored), size, -1)
    return np.ascontiguousarray(summed.transpose(0, 2, 1)).reshape(len(stored), -1)
