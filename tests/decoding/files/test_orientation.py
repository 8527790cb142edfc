import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.helpers.image_files import (
    chunk,
    exif,
    saved,
    segment,
    tiff,
    with_chunks,
    with_segments,
)
from tests.helpers.odd_images import picture, plain_files
from transforms.decode_images import Preprocessing, decode_image
from transforms.decoding.files.orientation import orientation, unhexed

PREFIX = b"Exif\0\0"
XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"


def as_attribute(turn: int) -> bytes:
    return b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>' % turn


def as_element(turn: int) -> bytes:
    return b"<x:xmpmeta><tiff:Orientation>%d</tiff:Orientation></x:xmpmeta>" % turn


def typed(turn: int, kind: int, order: str = "<") -> bytes:
    """EXIF whose orientation is SHORT (3), LONG (4), SSHORT (8) or SLONG (9)."""
    value = struct.pack(f"{order}{'HIhi'[(3, 4, 8, 9).index(kind)]}", turn).ljust(4, b"\0")
    short = exif(turn, order)
    return short[:12] + struct.pack(order + "H", kind) + short[14:18] + value + short[22:]


def claiming(turn: int, entries: int, order: str = "<") -> bytes:
    """EXIF whose directory claims that many entries and has one."""
    short = exif(turn, order)
    return short[:8] + struct.pack(order + "H", entries) + short[10:22]


def raw_profile(profile: bytes, kind: bytes = b"exif") -> bytes:
    """As ImageMagick writes it: lines of 72 digits."""
    digits = profile.hex()
    lines = [digits[i : i + 72] for i in range(0, len(digits), 72)]
    return b"\n%s\n%8d\n%s\n" % (kind, len(profile), "\n".join(lines).encode())


def jpeg(*bodies: bytes) -> bytes:
    return with_segments(plain_files()["plain.jpg"], *(segment(0xE1, body) for body in bodies))


def typed_jpeg(kind: int, order: str, turn: int) -> bytes:
    return jpeg(PREFIX + typed(turn, kind, order))


def png(*chunks: bytes) -> bytes:
    return with_chunks(plain_files()["plain.png"], *chunks)


def itxt(keyword: bytes, text: bytes, is_compressed: bool = False) -> bytes:
    stored = zlib.compress(text) if is_compressed else text
    return chunk(b"iTXt", keyword + bytes((0, is_compressed, 0)) + b"en\0XMP\0" + stored)


def webp(turn: int) -> bytes:
    return saved(picture(), "WEBP", lossless=True, xmp=as_attribute(turn))


def tiff_of(tags: dict[int, int | tuple[int, ...] | bytes]) -> bytes:
    width, height = picture().size
    plain: dict[int, int | tuple[int, ...] | bytes] = {256: width, 257: height, 258: (8,) * 3}
    plain |= {259: 1, 262: 2, 277: 3}
    return tiff(plain | tags, picture().tobytes())


RAW_EXIF, XMP = b"Raw profile type exif", b"XML:com.adobe.xmp"
CARRIERS: dict[str, Callable[[int], bytes]] = {
    **{
        f"EXIF of type {kind}, {order}": partial(typed_jpeg, kind, order)
        for kind, order in product((3, 4, 8, 9), "<>")
    },
    "EXIF that claims two entries": lambda turn: jpeg(PREFIX + claiming(turn, 2)),
    "EXIF that claims all entries": lambda turn: jpeg(PREFIX + claiming(turn, 65535, ">")),
    "EXIF before XMP": lambda turn: jpeg(PREFIX + exif(turn), XMP_MARK + as_attribute(3)),
    "EXIF after XMP": lambda turn: jpeg(XMP_MARK + as_attribute(3), PREFIX + exif(turn)),
    "XMP attribute": lambda turn: jpeg(XMP_MARK + as_attribute(turn)),
    "XMP element": lambda turn: jpeg(XMP_MARK + as_element(turn)),
    "XMP beside EXIF without a turn": lambda turn: jpeg(
        PREFIX + b"II*\0\x08\0\0\0\0\0", XMP_MARK + as_element(turn)
    ),
    "eXIf": lambda turn: png(chunk(b"eXIf", exif(turn))),
    "iTXt": lambda turn: png(itxt(XMP, as_element(turn))),
    "compressed iTXt": lambda turn: png(itxt(XMP, as_attribute(turn), is_compressed=True)),
    "raw profile": lambda turn: png(
        chunk(b"tEXt", RAW_EXIF + b"\0" + raw_profile(PREFIX + exif(turn)))
    ),
    "compressed raw profile": lambda turn: png(
        chunk(b"zTXt", RAW_EXIF + b"\0\0" + zlib.compress(raw_profile(PREFIX + exif(turn))))
    ),
    "raw profile before XMP": lambda turn: png(
        itxt(XMP, as_attribute(3)), itxt(RAW_EXIF, raw_profile(exif(turn)))
    ),
    "eXIf before a raw profile": lambda turn: png(
        chunk(b"tEXt", RAW_EXIF + b"\0" + raw_profile(exif(3))), chunk(b"eXIf", exif(turn))
    ),
    "XMP of a WebP": webp,
    "TIFF tag": lambda turn: tiff_of({274: struct.pack("<HIhh", 8, 1, turn, 0)}),
    "XMP of a TIFF": lambda turn: saved(picture(), "TIFF", tiffinfo={700: as_element(turn)}),
}


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("carrier", CARRIERS)
def test_whatever_tells_the_orientation_turns_the_picture_as_pillow_does(
    carrier: str, turn: int
) -> None:
    content = CARRIERS[carrier](turn)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    preprocessing = Preprocessing(64, "squash", 10**6)
    np.testing.assert_array_equal(
        decode_image(content, preprocessing).pixels,
        decode_image(saved(upright, "PNG"), preprocessing).pixels,
    )
    assert upright.size == (picture().size if turn < 5 else picture().size[::-1])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation_of_exif(turn: int, order: str) -> None:
    assert orientation(exif(turn, order)) == turn
    assert orientation(b"Exif\0\0" + exif(turn, order)) == turn


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Exif\0\0",
        b"no exif at all, but text",
        exif(6)[:-5],
        b"II*\0\xff\xff\xff\xff",
        b"II+\0" + b"\xff" * 40,
        exif(6).replace(struct.pack("<HHI", 0x0112, 3, 1), struct.pack("<HHI", 0x0112, 2, 1)),
        exif(6).replace(
            struct.pack("<HHI", 0x0112, 3, 1), struct.pack("<HHI", 0x0112, 3, 2**32 - 1)
        ),
        exif(6).replace(struct.pack("<HHI", 0x0112, 3, 1), struct.pack("<HHI", 0x0112, 3, 0)),
    ],
)
def test_exif_that_cannot_be_read_means_upright(content: bytes) -> None:
    assert orientation(content) == 1


@pytest.mark.parametrize(
    "packet",
    [
        b'tiff:Orientation="6"',
        b"tiff:Orientation='6'",
        b'tiff:Orientation = "6"',
        b"<tiff:Orientation>6</tiff:Orientation>",
        b"<tiff:Orientation>\n  6\n</tiff:Orientation>",
    ],
)
def test_xmp_may_be_written_in_several_ways(packet: bytes) -> None:
    assert orientation(xmp=b"<rdf:RDF " + packet) == 6


@pytest.mark.parametrize(
    "packet", [b"", b"tiff:Orientation", b'tiff:Orientation="x"', b'tiff:Orientation="66"']
)
def test_xmp_that_cannot_be_read_means_upright(packet: bytes) -> None:
    assert orientation(xmp=packet) == 1


def test_the_first_exif_with_an_orientation_decides_and_then_xmp() -> None:
    empty = b"II*\0\x08\0\0\0\0\0"
    assert orientation(exif(6), exif(3), xmp=as_attribute(8)) == 6
    assert orientation(empty, exif(3), xmp=as_attribute(8)) == 3
    assert orientation(empty, b"", xmp=as_attribute(8)) == 8
    assert orientation(exif(77), exif(3), xmp=as_attribute(8)) == 1


def test_a_raw_profile_is_hexadecimal() -> None:
    assert unhexed(raw_profile(b"\x01\xab" * 50)) == b"\x01\xab" * 50
    assert unhexed(b"\nexif\n 2\n01a") == b"\x01"
    assert unhexed(b"\nexif\n 2\n01 no") == b"\x01"
    assert unhexed(b"no profile") == b""


def test_a_text_that_unfolds_without_end_is_looked_at_in_part() -> None:
    bomb = chunk(b"zTXt", RAW_EXIF + b"\0\0" + zlib.compress(b"\nexif\n 9\n" + b"0" * 50_000_000))
    found = decode_image(
        png(*[bomb] * 20, itxt(XMP, as_attribute(6))), Preprocessing(8, "crop", 10**6)
    )
    assert found.width == 96
