"""Odd image files of every kind, each with what must become of it."""

import functools
import gzip
import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.helpers.image_files import (
    bmp,
    chunk,
    exif,
    gif,
    lossless_jpeg,
    png,
    raw,
    saved,
    segment,
    tiff,
    with_chunks,
    with_segments,
)

WIDTH, HEIGHT = 96, 72
MILLIONS = 50_000
LATE_HEIGHT = segment(0xDC, struct.pack(">H", HEIGHT)) + b"\xff\xd9"
_COLOURS = ((200, 30, 40), (20, 180, 60), (30, 60, 220), (250, 250, 250))


@functools.cache
def picture() -> Image.Image:
    """A small photograph, [72, 96, 3]."""
    path = Path(__file__).parents[1] / "data" / "photos" / "cat.jpg"
    return Image.open(path).convert("RGB").resize((WIDTH, HEIGHT))


def write_odd_images(folder: Path) -> dict[str, str | None]:
    """Writes them all; by file name the `error` that each must get, None for a prediction."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (content, _) in odd_images().items():
        (folder / name).write_bytes(content)
    return {name: error for name, (_, error) in odd_images().items()}


@functools.cache
def odd_images() -> dict[str, tuple[bytes, str | None]]:
    """By file name the content and the error, None for a prediction."""
    good = {**_jpegs(), **_pngs(), **_gifs(), **_bmps(), **_webps(), **_tiffs()}
    cut = {f"cut_{name}": plain_files()[name] for name in plain_files()}
    return {
        **{name: (content, None) for name, content in good.items()},
        **{name: (content[: len(content) * 2 // 3], "truncated") for name, content in cut.items()},
        **{name: (content, "corrupt") for name, content in _damaged().items()},
        **{name: (content, "too_many_pixels") for name, content in _too_large().items()},
        **{name: (content, "not_an_image") for name, content in _no_images().items()},
        **{name: (content, "unsupported_format") for name, content in _unsupported().items()},
    }


@functools.cache
def plain_files() -> dict[str, bytes]:
    """One ordinary file of each format."""
    return {
        "plain.jpg": saved(picture(), "JPEG"),
        "plain.png": saved(picture(), "PNG"),
        "plain.gif": saved(picture(), "GIF"),
        "plain.bmp": saved(picture(), "BMP"),
        "plain.webp": saved(picture(), "WEBP"),
        "plain.tif": saved(picture(), "TIFF"),
        "plain_lzw.tif": saved(picture(), "TIFF", compression="tiff_lzw"),
    }


def _frames() -> list[Image.Image]:
    return [picture().rotate(angle) for angle in (90, 180)]


def _jpegs() -> dict[str, bytes]:
    jpeg, cmyk = plain_files()["plain.jpg"], saved(picture().convert("CMYK"), "JPEG")
    adobe = cmyk.index(b"Adobe")
    profile, picture_index = (
        b"ICC_PROFILE\0\1\1",
        b"MPF\0II*\0\x08\0\0\0\1\0\1\xb0\4\0\1\0\0\0\2\0\0\0",
    )
    return {
        **{
            f"turned_{turn}.jpg": saved(picture(), "JPEG", exif=b"Exif\0\0" + exif(turn))
            for turn in range(1, 9)
        },
        "jpeg_named.png": jpeg,
        "grey.jpg": saved(picture().convert("L"), "JPEG"),
        "progressive.jpg": saved(picture(), "JPEG", progressive=True),
        "cmyk.jpg": cmyk,
        "ycck.jpg": cmyk[: adobe + 11] + b"\2" + cmyk[adobe + 12 :],
        "lossless.jpg": lossless_jpeg(np.asarray(picture().convert("L"))),
        "two_pictures.mpo": saved(picture(), "MPO", save_all=True, append_images=_frames()),
        "broken_exif.jpg": with_segments(jpeg, segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff")),
        "wrong_orientation.jpg": saved(picture(), "JPEG", exif=b"Exif\0\0" + exif(77)),
        "broken_profile.jpg": with_segments(jpeg, segment(0xE2, profile + b"noise")),
        "short_profile.jpg": with_segments(jpeg, segment(0xE2, b"ICC_PROFILE\0")),
        "broken_index.jpg": with_segments(jpeg, segment(0xE2, picture_index)),
        "html_in_comment.jpg": with_segments(jpeg, segment(0xFE, b"<html><script>")),
        "with_archive.jpg": jpeg + b"PK\3\4" + bytes(1000),
        "padded.jpg": jpeg[:2] + b"\xff\xff\xff" + jpeg[2:],
    }


def _pngs() -> dict[str, bytes]:
    plain = plain_files()["plain.png"]
    grey16 = np.asarray(picture().convert("L")).astype(np.uint16) * 257
    bomb = zlib.compress(bytes(50_000_000))
    rows = [bytes((0b00011011,)) * (WIDTH // 4)] * HEIGHT
    return {
        "palette.png": saved(picture().quantize(16), "PNG"),
        "palette_transparent.png": saved(picture().quantize(16), "PNG", transparency=3),
        "rgba.png": saved(picture().convert("RGBA"), "PNG"),
        "grey_alpha.png": saved(picture().convert("LA"), "PNG"),
        "one_bit.png": saved(picture().convert("1"), "PNG"),
        "two_bit_key.png": png((WIDTH, HEIGHT), 2, 0, rows, chunk(b"tRNS", b"\0\2")),
        "sixteen_bit.png": saved(Image.fromarray(grey16), "PNG"),
        "animated.png": saved(picture(), "PNG", save_all=True, append_images=_frames()),
        "turned.png": saved(picture(), "PNG", exif=exif(6, ">")),
        "text_bomb.png": with_chunks(plain, chunk(b"zTXt", b"note\0\0" + bomb)),
        "profile_bomb.png": with_chunks(plain, chunk(b"iCCP", b"note\0\0" + bomb)),
        "text_as_state.png": with_chunks(
            plain, *(chunk(b"tEXt", key + b"\0no") for key in (b"transparency", b"interlace"))
        ),
        "bad_text_checksum.png": with_chunks(plain, chunk(b"tEXt", b"a\0b")[:-1] + b"?"),
        "broken_profile.png": with_chunks(plain, chunk(b"iCCP", b"name\0\7noise")),
        "without_end.png": plain[:-12],
        "with_archive.png": plain + b"PK\3\4" + bytes(1000),
    }


def _gifs() -> dict[str, bytes]:
    comment = b"!\xfe" + (b"\xff" + b"x" * 255) * 3 + b"\0"
    return {
        "transparent.gif": saved(picture().quantize(16), "GIF", transparency=3),
        "animated.gif": saved(picture(), "GIF", save_all=True, append_images=_frames()),
        "small_frame.gif": gif((WIDTH, HEIGHT), (5, 5, 4, 4), bytes(16), _COLOURS),
        "beyond_canvas.gif": gif((2, 2), (0, 0, 4, 4), bytes(16), _COLOURS),
        "long_comment.gif": gif((4, 4), (0, 0, 4, 4), bytes(16), _COLOURS, comment),
        "without_end.gif": plain_files()["plain.gif"][:-1],
    }


def _bmps() -> dict[str, bytes]:
    palette = b"".join(bytes((*colour[::-1], 0)) for colour in _COLOURS) + bytes(4 * 252)
    runs = b"\x04\x01\x04\x02\0\0" * 8 + b"\0\1"
    masks = (0xFF0000, 0xFF00, 0xFF)
    return {
        "grey.bmp": saved(picture().convert("L"), "BMP"),
        "one_bit.bmp": saved(picture().convert("1"), "BMP"),
        "palette.bmp": saved(picture().quantize(256), "BMP"),
        "four_bit.bmp": bmp((8, 8), 4, b"\x01\x23\x01\x23" * 8, palette=palette[:64]),
        "sixteen_bit.bmp": bmp((8, 8), 16, b"\xe0\x03" * 64),
        "thirty_two_bit.bmp": bmp((8, 8), 32, b"\1\2\3\0" * 64),
        "masks.bmp": bmp((8, 8), 32, b"\1\2\3\0" * 64, compression=3, masks=masks),
        "top_down.bmp": bmp((8, -8), 24, b"\1\2\3" * 64),
        "run_length.bmp": bmp((8, 8), 8, runs, palette=palette, compression=1),
    }


def _webps() -> dict[str, bytes]:
    return {
        "lossless.webp": saved(picture(), "WEBP", lossless=True),
        "rgba.webp": saved(picture().convert("RGBA"), "WEBP"),
        "animated.webp": saved(picture(), "WEBP", save_all=True, append_images=_frames()),
        "turned.webp": saved(picture(), "WEBP", exif=exif(6)),
        "broken_exif.webp": saved(picture(), "WEBP", exif=b"no exif at all"),
    }


def _tiffs() -> dict[str, bytes]:
    grey = np.asarray(picture().convert("L"))
    tags = {256: WIDTH, 257: HEIGHT, 258: 8, 259: 1, 262: 1}
    files = {
        f"{name}.tif": saved(picture(), "TIFF", compression=name)
        for name in ("tiff_deflate", "jpeg", "packbits", "lzma", "zstd")
    }
    modes = ("1", "L", "P", "RGBA", "LA", "CMYK", "LAB", "YCbCr")
    return {
        **files,
        **{f"{mode}.tif": saved(_in_mode(mode), "TIFF") for mode in modes},
        "group4.tif": saved(picture().convert("1"), "TIFF", compression="group4"),
        "float.tif": saved(Image.fromarray(grey.astype(np.float32) / 255), "TIFF"),
        "not_a_number.tif": saved(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF"),
        "thirty_two_bit.tif": saved(Image.fromarray(grey.astype(np.int32) * 65793), "TIFF"),
        "sixteen_bit.tif": saved(Image.fromarray(grey.astype(np.uint16) * 257), "TIFF"),
        "pages.tif": saved(picture(), "TIFF", save_all=True, append_images=_frames()),
        "turned.tif": tiff(tags | {274: 6}, grey.tobytes()),
        "big_endian.tif": tiff(tags, grey.tobytes(), ">"),
        "big.tif": tiff(tags, grey.tobytes(), is_big=True),
        "one_value_too_many.tif": tiff(tags | {278: (HEIGHT, 1)}, grey.tobytes()),
    }


def _in_mode(mode: str) -> Image.Image:
    if mode == "LAB":
        return Image.frombytes("LAB", (8, 8), b"\x80\x10\xf0" * 64)
    return picture().convert(mode)


def _damaged() -> dict[str, bytes]:
    files = plain_files()
    lzw = bytearray(files["plain_lzw.tif"])
    lzw[8:40] = b"\xff" * 32
    jpeg = files["plain.jpg"]
    tables = jpeg.index(b"\xff\xc4")
    return {
        "tables.jpg": jpeg[: tables + 5] + b"\xff" * 16 + jpeg[tables + 21 :],
        "header.png": files["plain.png"][:20] + b"?" + files["plain.png"][21:],
        "pixels.png": png((8, 8), 8, 2, [b"\1" * 24] * 8).replace(b"IDATx", b"IDAT?"),
        "depth.png": png((8, 8), 7, 2, [b"\1" * 24] * 8),
        "chunks.webp": files["plain.webp"][:20] + bytes(20) + files["plain.webp"][40:],
        "pixels.tif": bytes(lzw),
    }


def _too_large() -> dict[str, bytes]:
    """Files of a few bytes that claim to be 50,000 pixels wide and high."""
    files, side = plain_files(), MILLIONS
    jpeg, animated = files["plain.jpg"], bytearray(_webps()["animated.webp"])
    frame = jpeg.index(b"\xff\xc0")
    animated[24:30] = (side - 1).to_bytes(3, "little") * 2
    return {
        "huge.jpg": jpeg[: frame + 5] + struct.pack(">HH", side, side) + jpeg[frame + 9 :],
        "huge.png": png((side, side), 8, 6, [b"\0" * 4]),
        "huge.gif": gif((side, side), (0, 0, 1, 1), b"\0", _COLOURS),
        "huge_frame.gif": gif((1, 1), (0, 0, side, side), b"\0", _COLOURS),
        "huge.bmp": bmp((side, side), 24, bytes(16)),
        "huge_skip.bmp": bmp(
            (10_000_000, 1), 8, b"\0\2\0\xff\0\1", palette=bytes(8), compression=1
        ),
        "huge.webp": bytes(animated),
        "huge.tif": tiff({256: side, 257: side, 258: 8, 259: 1, 262: 1}, bytes(16)),
        "huge_tile.tif": tiff(
            {256: 8, 257: 8, 258: 8, 259: 8, 262: 1, 322: side, 323: side, 324: 8, 325: 9}, bytes(9)
        ),
    }


def _no_images() -> dict[str, bytes]:
    return {
        "page.jpg": b"<!DOCTYPE html><html><body>404 not found</body></html>",
        "error.jpg": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        "text.png": b"BMW and other cars that are no bitmap\n",
        "p1.png": b"P1 is the first process\n",
        "noise.gif": random.Random(7).randbytes(3000),
        "zeros.bmp": bytes(3000),
        "one_byte.jpg": b"\xff",
        "video.jpg": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
        "sound.webp": b"RIFF\x24\0\0\0WAVEfmt ",
        "escape.jpg": "\x1b[31m\r\n‮тест".encode(),
    }


def _unsupported() -> dict[str, bytes]:
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
    jpeg, plain = plain_files()["plain.jpg"], plain_files()["plain.png"]
    frame = jpeg.index(b"\xff\xc0")
    grey = {256: 8, 257: 8, 259: 1, 262: 1}
    return {
        "drawing.svg": b'<?xml version="1.0"?>\n' + drawing,
        "plain_drawing.svg": drawing,
        "phone.heic": b"\0\0\0\x24ftypheic\0\0\0\0mif1heic",
        "new.avif": saved(picture(), "AVIF"),
        "new.jp2": saved(picture(), "JPEG2000"),
        "new.jxl": b"\xff\x0a\xfa\x1f",
        "layers.psd": b"8BPS\0\1" + bytes(20),
        "sign.ico": saved(picture(), "ICO"),
        "sign.cur": b"\0\0\2\0\1\0\x20\x20",
        "page.pdf": saved(picture(), "PDF"),
        "page.eps": saved(picture(), "EPS"),
        "old.tga": saved(picture(), "TGA"),
        "old.ppm": saved(picture(), "PPM"),
        "old.pcx": saved(picture(), "PCX"),
        "old.sgi": saved(picture(), "SGI"),
        "old.xbm": saved(picture().convert("1"), "XBM"),
        "scan.dcm": bytes(128) + b"DICM\2\0\0\0UL\4\0",
        "packed.jpg.gz": gzip.compress(jpeg),
        "camera.nef": raw("NIKON CORPORATION"),
        "camera.dng": raw("Adobe", {50706: struct.pack("<HI4B", 1, 4, 1, 4, 0, 0)}),
        "hierarchical.jpg": jpeg.replace(b"\xff\xc0", b"\xff\xc5"),
        "late_height.jpg": jpeg[: frame + 5] + bytes(2) + jpeg[frame + 7 : -2] + LATE_HEIGHT,
        "crushed.png": plain[:8] + chunk(b"CgBI", b"\x50\0\x20\2") + plain[8:],
        "twelve_bit.jpg": jpeg[: frame + 4] + b"\x0c" + jpeg[frame + 5 :],
        "five_bit.bmp": bmp((8, 8), 5, bytes(64)),
        "jpeg_inside.bmp": bmp((8, 8), 24, bytes(64), compression=4),
        "ten_bit_jpeg.tif": tiff(grey | {258: 10, 259: 7}, bytes(512)),
        "double.tif": tiff(grey | {258: 64, 339: 3}, bytes(512)),
        "ten_bit.tif": tiff(grey | {258: 10}, bytes(range(80))),
        "sixteen_bit_alpha.tif": tiff(grey | {258: (16, 16), 277: 2, 338: 2}, bytes(range(256))),
        "sixteen_bit_planes.tif": tiff(
            grey | {258: (16,) * 3, 262: 2, 273: (8, 136, 264), 277: 3, 279: (128,) * 3, 284: 2},
            bytes(384),
        ),
        "float_colour.tif": tiff(
            grey | {258: (32,) * 3, 262: 2, 277: 3, 339: (3,) * 3},
            np.linspace(0, 1, 192, dtype="<f4").tobytes(),
        ),
        "bands.tif": tiff(grey | {258: (8,) * 7, 277: 7, 338: (0,) * 6}, bytes(448)),
        "jbig.tif": tiff(grey | {258: 1, 259: 34661}, bytes(8)),
        "big_big_endian.tif": tiff(grey | {258: 8}, bytes(64), ">", is_big=True),
    }


def content_of(name: str) -> bytes:
    """The bytes of one of them."""
    return odd_images()[name][0]


def opened(name: str) -> Image.Image:
    """One of them as Pillow alone opens it."""
    return Image.open(io.BytesIO(content_of(name)))
