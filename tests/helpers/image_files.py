"""Image files byte by byte, for what no encoder would write."""

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    """`image` as Pillow writes it."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    size: tuple[int, int], depth: int, colour: int, rows: Sequence[bytes], *chunks: bytes
) -> bytes:
    """A PNG of these packed rows, with `chunks` before its pixels."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = chunk(b"IHDR", header), *chunks, chunk(b"IDAT", pixels), chunk(b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def with_chunks(content: bytes, *chunks: bytes) -> bytes:
    """A PNG with further chunks after its IHDR."""
    return content[:33] + b"".join(chunks) + content[33:]


def segment(marker: int, body: bytes) -> bytes:
    """One segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def with_segments(content: bytes, *segments: bytes) -> bytes:
    """A JPEG with further segments right after its start."""
    return content[:2] + b"".join(segments) + content[2:]


def exif(orientation: int, order: str = "<") -> bytes:
    """EXIF of nothing but an orientation."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def tiff(
    tags: Mapping[int, int | tuple[int, ...] | bytes],
    strip: bytes,
    order: str = "<",
    is_big: bool = False,
) -> bytes:
    """A TIFF of one strip. Values are LONG, or SHORT if they fit; bytes are an entry's rest."""
    counter, number = ("Q", "Q") if is_big else ("H", "I")
    start = 16 if is_big else 8
    size = struct.calcsize(number)
    tags = {273: start, 277: 1, 279: len(strip), **tags}
    table, values = struct.pack(order + counter, len(tags)), b""
    after = start + len(strip) + struct.calcsize(counter) + len(tags) * (4 + 2 * size) + size
    for tag, value in sorted(tags.items()):
        table += struct.pack(order + "H", tag)
        if isinstance(value, bytes):
            table += value
            continue
        row = value if isinstance(value, tuple) else (value,)
        kind, letter = (3, "H") if max(row) < 2**16 and tag not in (273, 279) else (4, "I")
        stored = struct.pack(f"{order}{len(row)}{letter}", *row)
        if len(stored) > size:
            stored, values = struct.pack(order + number, after + len(values)), values + stored
        table += struct.pack(f"{order}H{number}{size}s", kind, len(row), stored)
    magic = struct.pack(order + "HHH", 43, 8, 0) if is_big else struct.pack(order + "H", 42)
    head = (b"II" if order == "<" else b"MM") + magic
    head += struct.pack(order + number, start + len(strip))
    return head + strip + table + bytes(size) + values


def raw(
    make: str,
    tags: Mapping[int, int | bytes] | None = None,
    below: Mapping[int, int] | None = None,
) -> bytes:
    """A TIFF as cameras make it: a grey thumbnail of 8 x 8, and a directory `below` it.

    That has nothing to decode. `tags` are further ones of the thumbnail's directory.
    """
    entries = sorted({254: 0, 256: 600, 257: 400, **(below or {})}.items())
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    name = make.encode() + b"\0"
    places: dict[int, int | bytes] = {330: 72 + len(name)}
    places |= {271: struct.pack("<HII", 2, len(name), 72)}
    grey: dict[int, int | bytes] = {254: 1, 256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 279: 64}
    return tiff({**grey, **places, **(tags or {})}, bytes(64) + name + directory + bytes(4))


def gif(
    canvas: tuple[int, int],
    frame: tuple[int, int, int, int],
    indices: bytes,
    palette: Sequence[tuple[int, int, int]],
    *extensions: bytes,
) -> bytes:
    """A GIF of one frame, (left, top, width, height), of four colours, without compression."""
    codes = [code for index in indices for code in (4, index)] + [5]  # clear, index, ..., end
    packed = sum(code << 3 * place for place, code in enumerate(codes))
    pixels = packed.to_bytes((3 * len(codes) + 7) // 8, "little")
    blocks = b"".join(
        bytes((len(pixels[at : at + 255]),)) + pixels[at : at + 255]
        for at in range(0, len(pixels), 255)
    )
    colours = b"".join(bytes(colour) for colour in palette)
    return b"".join(
        (
            b"GIF89a" + struct.pack("<HHBBB", *canvas, 0x81, 0, 0) + colours,
            *extensions,
            b"," + struct.pack("<HHHHB", *frame, 0) + b"\2" + blocks + b"\0",
            b";",
        )
    )


def bmp(
    size: tuple[int, int],
    bits: int,
    pixels: bytes,
    *,
    palette: bytes = b"",
    compression: int = 0,
    masks: tuple[int, ...] = (),
) -> bytes:
    """A BMP with the header of Windows 3, rows from the bottom up unless the height is negative."""
    extra = struct.pack(f"<{len(masks)}I", *masks) + palette
    start = 54 + len(extra)
    header = struct.pack("<IiiHHIIiiII", 40, *size, 1, bits, compression, len(pixels), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + extra + pixels


def lossless_jpeg(grey: NDArray[np.uint8]) -> bytes:
    """A JPEG of process 14 (SOF3): each pixel as its difference from the one to the left."""
    height, width = grey.shape
    values = grey.astype(int)
    before = np.roll(values, 1, axis=1)
    before[1:, 0] = values[:-1, 0]
    before[0, 0] = 128
    bits = ""
    for difference in (values - before).ravel().tolist():
        length = abs(difference).bit_length()
        low = difference if difference > 0 else difference + (1 << length) - 1
        bits += f"{length:04b}" + (f"{low:0{length}b}" if length else "")
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return b"".join(
        (
            b"\xff\xd8",
            segment(0xC3, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"),
            segment(0xC4, bytes((0, 0, 0, 0, 9, *[0] * 12, *range(9)))),
            segment(0xDA, b"\1\1\0\1\0\0"),
            scan + b"\xff\xd9",
        )
    )
