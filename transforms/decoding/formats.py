"""Which image format some bytes claim to be, told from their first bytes."""

import re
from typing import Final

# The formats that are decoded, by Pillow's names; every other decoder stays switched off.
FORMATS: Final = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")

# A file this short cannot be told by its whole signature.
_SHORTEST_START, _LONGEST_START = 2, 18

# Offset and bytes of each signature. The first ones are decoded, the others named in the error.
_SIGNATURES: Final = (
    ("JPEG-LS", 0, b"\xff\xd8\xff\xf7"),
    ("JPEG", 0, b"\xff\xd8\xff"),
    ("CgBI PNG", 12, b"CgBI"),  # as Apple's tools crush it: no PNG to anyone else
    ("PNG", 0, b"\x89PNG\r\n\x1a\n"),
    ("GIF", 0, b"GIF87a"),
    ("GIF", 0, b"GIF89a"),
    ("TIFF", 0, b"II*\0"),
    ("TIFF", 0, b"MM\0*"),
    ("TIFF", 0, b"II\0*"),
    ("TIFF", 0, b"MM*\0"),
    ("TIFF", 0, b"II+\0"),
    ("TIFF", 0, b"MM\0+"),
    ("AVIF", 4, b"ftypavif"),
    ("AVIF", 4, b"ftypavis"),
    ("HEIF", 4, b"ftyphei"),
    ("HEIF", 4, b"ftyphev"),
    ("HEIF", 4, b"ftypmif1"),
    ("HEIF", 4, b"ftypmsf1"),
    ("Canon raw", 4, b"ftypcrx "),
    ("Fujifilm raw", 0, b"FUJIFILMCCD-RAW"),
    ("Olympus raw", 0, b"IIRO"),
    ("Panasonic raw", 0, b"IIU\0"),
    ("JPEG 2000", 0, b"\x00\x00\x00\x0cjP  "),
    ("JPEG 2000", 0, b"\xff\x4f\xff\x51"),
    ("JPEG XL", 0, b"\xff\x0a"),
    ("JPEG XL", 0, b"\x00\x00\x00\x0cJXL "),
    ("JPEG XR", 0, b"II\xbc\x01"),
    ("PSD", 0, b"8BPS"),
    ("ICO", 0, b"\x00\x00\x01\x00"),
    ("DDS", 0, b"DDS "),
    ("OpenEXR", 0, b"\x76\x2f\x31\x01"),
    ("Radiance HDR", 0, b"#?RADIANCE"),
    ("FITS", 0, b"SIMPLE  ="),
    ("PDF", 0, b"%PDF-"),
    ("PostScript", 0, b"%!PS"),
    ("PostScript", 0, b"\xc5\xd0\xd3\xc6"),
    ("XCF", 0, b"gimp xcf"),
    ("QOI", 0, b"qoif"),
    ("ICNS", 0, b"icns"),
    ("MNG", 0, b"\x8aMNG\r\n\x1a\n"),
    ("WMF", 0, b"\xd7\xcd\xc6\x9a"),
    ("EMF", 40, b" EMF"),
    ("FLIF", 0, b"FLIF"),
    ("BPG", 0, b"BPG\xfb"),
    ("DJVU", 0, b"AT&TFORM"),
    ("XPM", 0, b"/* XPM */"),
)
# Signatures with a gap, or so short that a text may begin with them.
_PATTERNS: Final = (
    ("WEBP", re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
    ("BMP", re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)),
    ("TGA", re.compile(rb"\0\0[\x02\x0a]\0{5}")),
    ("CUR", re.compile(rb"\0\0\x02\0")),
    ("Netpbm", re.compile(rb"P[1-6][ \t\r\n]+[#0-9]|P7\nWIDTH |P[Ff]\n[0-9]")),
)


def name_format(content: bytes) -> str | None:
    """The image format whose signature `content` has, or None."""
    for name, offset, signature in _SIGNATURES:
        if content.startswith(signature, offset):
            return name
    for name, pattern in _PATTERNS:
        if pattern.match(content):
            return name
    head = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    is_xml = head.startswith((b"<?xml", b"<!--", b"<!doctype svg", b"<svg"))
    if is_xml and b"<svg" in head:
        return "SVG"
    return _cut_signature(content)


def _cut_signature(content: bytes) -> str | None:
    """The decoded format that a file of a few bytes was about to become."""
    if not _SHORTEST_START <= len(content) < _LONGEST_START:
        return None
    if content.startswith(b"BM"):
        return "BMP"
    starts = (row for row in _SIGNATURES if row[0] in FORMATS)
    return next((name for name, _, signature in starts if signature.startswith(content)), None)
