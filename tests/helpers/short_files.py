"""Files that are whole as a container and lack pixels, as broken encoders and copies leave them."""

import functools
import random
import struct
import zlib

import numpy as np
from PIL import Image

from tests.helpers.image_files import bmp, chunk, gif, saved, tiff
from tests.helpers.odd_images import picture

# Adam7, PNG 8.2: first column and row of each pass, and the steps between them.
_PASSES = "0088 4088 0448 2044 0224 1022 0112"
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_COLOURS = ((200, 30, 40), (20, 180, 60), (30, 60, 220), (250, 250, 250))


@functools.cache
def short_files() -> dict[str, bytes]:
    """By name; every one of them is `truncated`."""
    return {**_jpegs(), **_pngs(), **_gifs(), **_bmps(), **_tiffs()}


def png_rows(
    size: tuple[int, int], depth: int, colour: int, lacking: int, is_interlaced: bool = False
) -> bytes:
    """A PNG of noise without its last `lacking` rows; those of each pass count."""
    (width, height), bits = size, depth * _SAMPLES[colour]
    passes = (
        [tuple(map(int, word)) for word in _PASSES.split()] if is_interlaced else [(0, 0, 1, 1)]
    )
    rows: list[int] = []
    for x, y, right, down in passes:
        columns, lines = -(-(width - x) // right), -(-(height - y) // down)
        rows += [(columns * bits + 7) // 8] * (lines if columns > 0 else 0)
    dice = random.Random(4)
    pixels = b"".join(b"\0" + dice.randbytes(row) for row in rows[: len(rows) - lacking])
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, is_interlaced)
    palette = chunk(b"PLTE", bytes(3 << depth)) if colour == 3 else b""
    parts = chunk(b"IHDR", header), palette, chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_cut(content: bytes, percent: int) -> bytes:
    """A PNG whose stream of pixels is closed early, in the middle of a row as a rule."""
    start, end = content.index(b"IDAT") - 4, content.rindex(b"IEND") - 4
    at, stream = start, b""
    while at < end:
        size = int.from_bytes(content[at : at + 4], "big")
        stream += content[at + 8 : at + 8 + size] if content[at + 4 : at + 8] == b"IDAT" else b""
        at += 12 + size
    pixels = zlib.decompressobj().decompress(stream)
    short = zlib.compress(pixels[: len(pixels) * percent // 100], 1)
    return content[:start] + chunk(b"IDAT", short) + content[end:]


def jpeg_cut(content: bytes, percent: int) -> bytes:
    """A JPEG whose scan ends early, with the mark for its end behind."""
    return content[: _in_scan(content, percent)].rstrip(b"\xff") + b"\xff\xd9"


def jpeg_hole(content: bytes, percent: int, size: int) -> bytes:
    """A JPEG with zeros in its scan, as of blocks that did not arrive."""
    at = _in_scan(content, percent)
    return content[:at].rstrip(b"\xff") + bytes(size) + content[at + size :]


def tiff_cut(content: bytes, percent: int, only_last: bool = False) -> bytes:
    """A little-endian TIFF whose strips or tiles are said to be shorter than they are."""
    (at,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, at)
    found = bytearray(content)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from("<HHI", content, entry)
        if tag in (279, 325):
            layout = f"<{number}{'H' if kind == 3 else 'I'}"
            is_inside = struct.calcsize(layout) <= 4
            place = entry + 8 if is_inside else struct.unpack_from("<I", content, entry + 8)[0]
            sizes = list(struct.unpack_from(layout, content, place))
            for strip in range(number - 1 if only_last else 0, number):
                sizes[strip] = max(1, sizes[strip] * percent // 100)
            struct.pack_into(layout, found, place, *sizes)
    return bytes(found)


def _in_scan(content: bytes, percent: int) -> int:
    start, end = content.index(b"\xff\xda") + 14, content.rindex(b"\xff\xd9")
    return start + (end - start) * percent // 100


def _jpegs() -> dict[str, bytes]:
    plain, photograph = saved(picture(), "JPEG"), picture().resize((640, 480))
    larger, grey = saved(photograph, "JPEG"), saved(photograph.convert("L"), "JPEG")
    return {
        **{f"cut_{percent}.jpg": jpeg_cut(plain, percent) for percent in (0, 30, 60, 97)},
        "cut_grey.jpg": jpeg_cut(grey, 50),
        "cut_cmyk.jpg": jpeg_cut(saved(photograph.convert("CMYK"), "JPEG"), 50),
        "cut_restarts.jpg": jpeg_cut(saved(photograph, "JPEG", restart_marker_blocks=7), 50),
        "cut_first_scan.jpg": jpeg_cut(saved(photograph, "JPEG", progressive=True), 2),
        "cut_with_archive.jpg": jpeg_cut(larger, 50) + b"PK\3\4" + bytes(1000),
        "hole.jpg": jpeg_hole(larger, 40, 600),
        "hole_grey.jpg": jpeg_hole(grey, 40, 600),
        "zeros_to_the_end.jpg": jpeg_cut(larger, 50)[:-2] + bytes(5000) + b"\xff\xd9",
    }


def _pngs() -> dict[str, bytes]:
    kinds = ((0, 1), (0, 8), (0, 16), (2, 8), (2, 16), (3, 2), (3, 8), (4, 8), (6, 8), (6, 16))
    return {
        f"rows_{lacking}_{colour}_{depth}_{is_interlaced}.png": png_rows(
            (33, 20), depth, colour, lacking, is_interlaced
        )
        for colour, depth in kinds
        for lacking in (1, 9)
        for is_interlaced in (False, True)
    }


def _gifs() -> dict[str, bytes]:
    indices = bytes(random.Random(5).choices(range(4), k=24 * 16))
    short = {
        f"codes_{count}.gif": gif((24, 16), (0, 0, 24, 16), indices[:count], _COLOURS)
        for count in (0, 1, 200, len(indices) - 1)
    }
    frame = gif((30, 20), (3, 2, 24, 16), indices[:100], _COLOURS)
    transparent = gif(
        (24, 16), (0, 0, 24, 16), indices[:100], _COLOURS, b"!\xf9\4\1\0\0\2\0"
    )  # fmt: skip
    return short | {"codes_of_frame.gif": frame, "codes_transparent.gif": transparent}


def _bmps() -> dict[str, bytes]:
    row = b"\x08\x01\0\0"
    return {
        f"runs_{rows}.bmp": bmp((8, 8), 8, row * rows + b"\0\1", palette=bytes(1024), compression=1)
        for rows in (0, 5, 7)
    }


def _tiffs() -> dict[str, bytes]:
    larger = picture().resize((300, 200))
    colour = {
        name: saved(larger, "TIFF", compression=name, strip_size=20_000)
        for name in ("tiff_lzw", "tiff_deflate", "packbits", "lzma", "zstd", "jpeg")
    }
    ycbcr = saved(larger.convert("YCbCr"), "TIFF", compression="tiff_lzw")
    fax = {
        f"{name}_{strip_size}": saved(
            larger.convert("1"), "TIFF", compression=name, strip_size=strip_size
        )
        for name in ("group3", "group4", "tiff_ccitt")
        for strip_size in (1000, 10**6)
    }
    files = {**colour, **fax, "ycbcr": ycbcr}
    bottomless = tiff(
        {256: 600, 257: 600, 258: 1, 259: 4, 262: 0, 278: 600},
        bytes.fromhex("26a0d541ac1001001001"),
    )
    return {
        **{
            f"{name}_{percent}.tif": tiff_cut(files[name], percent)
            for name in files
            for percent in (5, 60)
        },
        **{f"{name}_last.tif": tiff_cut(files[name], 50, only_last=True) for name in files},
        "group4_end.tif": bottomless,
        "jpeg_low.tif": _jpeg_strip_of_fewer_rows(),
    }


def _jpeg_strip_of_fewer_rows() -> bytes:
    low = saved(Image.fromarray(np.full((40, 64), 200, np.uint8)), "JPEG")
    return tiff({256: 64, 257: 64, 258: 8, 259: 7, 262: 1, 278: 64}, low)
