"""A PNG without what makes no pixels: texts, profiles, later frames, transparency in vain."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from transforms.decoding.files.orientation import orientation, unhexed
from transforms.decoding.files.stripped import MOST_PROFILE_BYTES, Parts, Stripped

_GREY, _RGB, _PALETTE = 0, 2, 3
# Values of a tRNS chunk, of two bytes each, by colour type; a palette has one of a byte a colour.
_KEY_VALUES: Final = {_GREY: 1, _RGB: 3}
# Where ImageMagick and others put EXIF and XMP.
_RAW_EXIF: Final = (b"Raw profile type exif", b"Raw profile type APP1")
_RAW_XMP, _XMP = b"Raw profile type xmp", b"XML:com.adobe.xmp"
_LONGEST_KEYWORD: Final = 80
# Of a compressed text no more is looked at.
_MOST_TEXT: Final = 1_000_000


class _Chunk(NamedTuple):
    """From its length to its checksum; `kind` is empty for all that follows a wrong length."""

    kind: bytes
    start: int
    end: int


def strip_png(content: bytes, shows_default: bool = False) -> Stripped:
    """`content` as far as it makes the first picture.

    Of an animation whose default image is hidden that is the first frame, as in browsers, or with
    `shows_default` the default image, as Pillow shows.

    Raises:
        ImageError: corrupt.
    """
    chunks = list(_chunks(content))
    first = next((i for i, chunk in enumerate(chunks) if chunk.kind == b"IDAT"), len(chunks))
    head, pixels = chunks[:first], chunks[first:]
    kept = [content[:8], *_critical(content, head), _transparency(content, head)]
    frame = [] if shows_default else _first_frame(content, head, pixels)
    kept += frame or _critical(content, pixels)
    is_whole = bool(chunks) and chunks[-1].kind in (b"IEND", b"") and chunks[-1].end <= len(content)
    turn, profile = _orientation(content, chunks), _profile(content, head)
    return Stripped(b"".join(kept), turn, is_whole, profile=profile)


def _chunks(content: bytes) -> Iterator[_Chunk]:
    """Up to the end mark; the last one may reach beyond the end of the file."""
    at, parts = 8, Parts("PNG")
    while at + 8 <= len(content):
        parts.add()
        kind = content[at + 4 : at + 8]
        if not kind.isalpha():  # a wrong length led into the midst of something
            yield _Chunk(b"", at, len(content))
            return
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        yield _Chunk(kind, at, end)
        if kind == b"IEND":
            return
        at = end


def _critical(content: bytes, chunks: Sequence[_Chunk]) -> list[bytes]:
    """The chunks without which there are no pixels: their names begin with a capital."""
    return [content[start:end] for kind, start, end in chunks if not kind or not kind[0] & 0x20]


def _body(content: bytes, chunk: _Chunk) -> bytes:
    return content[chunk.start + 8 : chunk.end - 4]


def _made(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))


def _transparency(content: bytes, head: Sequence[_Chunk]) -> bytes:
    """The first tRNS chunk that libpng would not leave out; empty if there is none.

    Its values come on the scale of the decoded pixels, as Pillow compares them: the bits that the
    depth has, of 8-bit grey or of 16-bit colour the high byte.
    """
    colours = 0
    for chunk in head:
        if chunk.kind == b"PLTE":
            colours = len(_body(content, chunk)) // 3
        body = _body(content, chunk) if chunk.kind == b"tRNS" else b""
        if not body or _made(b"tRNS", body) != content[chunk.start : chunk.end]:
            continue
        depth, colour = content[24:26]
        if colour == _PALETTE and 1 <= len(body) <= colours:
            return _made(b"tRNS", body)
        values = _KEY_VALUES.get(colour)
        if values and len(body) == 2 * values:
            stored = struct.unpack(f">{values}H", body)
            return _made(b"tRNS", struct.pack(f">{values}H", *_scaled(stored, depth, colour)))
    return b""


def _scaled(stored: Sequence[int], depth: int, colour: int) -> list[int]:
    values = [value & (2**depth - 1) for value in stored]
    if depth < 8:
        return [value * 255 // (2**depth - 1) for value in values]
    return [value >> 8 for value in values] if depth == 16 and colour == _RGB else values


def _first_frame(content: bytes, head: Sequence[_Chunk], pixels: Sequence[_Chunk]) -> list[bytes]:
    """The first frame as pixels of a still picture, if the default image is hidden; else none.

    Pillow takes the place of the frame on the canvas from the fcTL chunk.
    """
    kinds = {chunk.kind for chunk in head}
    control = next((chunk for chunk in pixels if chunk.kind == b"fcTL"), None)
    if control is None or b"acTL" not in kinds or b"fcTL" in kinds:
        return []
    after = pixels[pixels.index(control) + 1 :]
    end = next((i for i, chunk in enumerate(after) if chunk.kind == b"fcTL"), len(after))
    parts = [chunk for chunk in after[:end] if chunk.kind == b"fdAT"]
    place = _body(content, control)
    canvas = struct.unpack_from(">II", content, 16)
    width, height, left, top = struct.unpack_from(">4I", place.ljust(20, b"\0"), 4)
    if not parts or left + width > canvas[0] or top + height > canvas[1]:
        return []
    frame = [_made(b"IDAT", _body(content, part)[4:]) for part in parts]  # without its number
    return [_made(b"fcTL", bytes(4) + place[4:]), *frame, _made(b"IEND", b"")]


def _orientation(content: bytes, chunks: Sequence[_Chunk]) -> int:
    """By the last chunk of each kind, as Pillow has it."""
    exif = [chunk for chunk in chunks if chunk.kind == b"eXIf"][-1:]
    texts = _texts(content, chunks)
    raw = [unhexed(texts[keyword]) for keyword in _RAW_EXIF if keyword in texts]
    xmp = texts.get(_XMP) or unhexed(texts.get(_RAW_XMP, b""))
    return orientation(*(_body(content, chunk) for chunk in exif), *raw, xmp=xmp)


def _texts(content: bytes, chunks: Sequence[_Chunk]) -> dict[bytes, bytes]:
    """By keyword the last text that may tell an orientation."""
    found = {}
    for chunk in chunks:
        if chunk.kind in (b"tEXt", b"zTXt", b"iTXt"):
            start = chunk.start + 8
            keyword, _, _ = content[start : start + _LONGEST_KEYWORD].partition(b"\0")
            if keyword in (*_RAW_EXIF, _RAW_XMP, _XMP):
                found[keyword] = chunk
    return {keyword: _text(content, chunk) for keyword, chunk in found.items()}


def _text(content: bytes, chunk: _Chunk) -> bytes:
    """Without its keyword and, of an iTXt chunk, without its languages."""
    text = _body(content, chunk).partition(b"\0")[2]
    if chunk.kind == b"zTXt":
        return _inflated(text[1:])
    if chunk.kind == b"iTXt":
        is_compressed = text[:1] != b"\0"
        text = text[2:].split(b"\0", 2)[-1]
        return _inflated(text) if is_compressed else text
    return text


def _profile(content: bytes, head: Sequence[_Chunk]) -> bytes:
    """An ICC profile; empty if there is none, or too large a one."""
    bodies = (_body(content, chunk) for chunk in head if chunk.kind == b"iCCP")
    stored = next(bodies, b"").partition(b"\0")[2][1:]
    profile = _inflated(stored, MOST_PROFILE_BYTES + 1)
    return profile if len(profile) <= MOST_PROFILE_BYTES else b""


def _inflated(stored: bytes, most: int = _MOST_TEXT) -> bytes:
    """Its first bytes; empty if it is broken."""
    try:
        return zlib.decompressobj().decompress(stored, most)
    except zlib.error:
        return b""
