"""Which image format some bytes claim to be, told from their first bytes."""

from typing import Final

# The formats that are decoded, by Pillow's names; every other decoder stays switched off.
FORMATS: Final = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")

# Offset and bytes of each signature. The first ones are decoded, the others named in the error.
_SIGNATURES: Final = (
    ("JPEG", 0, b"\xff\xd8\xff"),
    ("PNG", 0, b"\x89PNG\r\n\x1a\n"),
    ("GIF", 0, b"GIF8"),
    ("BMP", 0, b"BM"),
    ("WEBP", 8, b"WEBP"),
    ("TIFF", 0, b"II*\0"),
    ("TIFF", 0, b"MM\0*"),
    ("TIFF", 0, b"II+\0"),
    ("TIFF", 0, b"MM\0+"),
    ("AVIF", 4, b"ftypavif"),
    ("HEIF", 4, b"ftyphei"),
    ("HEIF", 4, b"ftyphev"),
    ("HEIF", 4, b"ftypmif1"),
    ("JPEG 2000", 0, b"\x00\x00\x00\x0cjP  "),
    ("JPEG 2000", 0, b"\xff\x4f\xff\x51"),
    ("JPEG XL", 0, b"\xff\x0a"),
    ("JPEG XL", 0, b"\x00\x00\x00\x0cJXL "),
    ("PSD", 0, b"8BPS"),
    ("ICO", 0, b"\x00\x00\x01\x00"),
    ("CUR", 0, b"\x00\x00\x02\x00"),
    ("DDS", 0, b"DDS "),
    ("OpenEXR", 0, b"\x76\x2f\x31\x01"),
    ("Radiance HDR", 0, b"#?RADIANCE"),
    ("FITS", 0, b"SIMPLE  ="),
    ("PDF", 0, b"%PDF-"),
    ("PostScript", 0, b"%!PS"),
    ("XCF", 0, b"gimp xcf"),
    ("QOI", 0, b"qoif"),
    ("ICNS", 0, b"icns"),
    ("WMF", 0, b"\xd7\xcd\xc6\x9a"),
    ("FLIF", 0, b"FLIF"),
    ("DJVU", 0, b"AT&TFORM"),
    *(("Netpbm", 0, b"P%d%c" % (n, c)) for n in range(1, 8) for c in b"\n\r\t #"),
    ("XPM", 0, b"/* XPM */"),
)


def name_format(content: bytes) -> str | None:
    """The image format whose signature `content` has, or None."""
    for name, offset, signature in _SIGNATURES:
        if content.startswith(signature, offset):
            return name
    head = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    is_xml = head.startswith((b"<?xml", b"<!--", b"<!doctype svg", b"<svg"))
    return "SVG" if is_xml and b"<svg" in head else None


def is_cut_short(content: bytes, name: str) -> bool:
    """Whether the end that `name`'s format demands is missing."""
    tail = content[-64:]
    if name == "JPEG":
        return b"\xff\xd9" not in tail
    if name == "PNG":
        return b"IEND" not in tail
    if name == "GIF":
        return b"\x3b" not in tail[-2:]
    if name == "WEBP":
        return len(content) < int.from_bytes(content[4:8], "little") + 8
    if name == "BMP":
        return len(content) < int.from_bytes(content[2:6], "little")
    return False
