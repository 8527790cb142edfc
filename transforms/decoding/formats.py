"""Which image format some bytes claim to be, told from their first bytes."""

import re
import zlib
from typing import Final

from transforms.decoding.files.camera_raws import name_raw

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
    ("Canon raw", 0, b"II\x1a\0\0\0HEAPCCDR"),
    ("Minolta raw", 0, b"\0MRM"),
    ("Olympus raw", 0, b"IIRO"),
    ("Olympus raw", 0, b"IIRS"),
    ("Olympus raw", 0, b"MMOR"),
    ("Panasonic raw", 0, b"IIU\0"),
    ("Sigma raw", 0, b"FOVb"),
    ("JPEG 2000", 0, b"\x00\x00\x00\x0cjP  "),
    ("JPEG 2000", 0, b"\xff\x4f\xff\x51"),
    ("JPEG XL", 0, b"\xff\x0a"),
    ("JPEG XL", 0, b"\x00\x00\x00\x0cJXL "),
    ("JPEG XR", 0, b"II\xbc\x01"),
    ("PSD", 0, b"8BPS"),
    ("ICO", 0, b"\x00\x00\x01\x00"),
    ("DDS", 0, b"DDS "),
    ("DICOM", 128, b"DICM"),
    ("DPX", 0, b"SDPX"),
    ("DPX", 0, b"XPDS"),
    ("Cineon", 0, b"\x80\x2a\x5f\xd7"),
    ("Sun raster", 0, b"\x59\xa6\x6a\x95"),
    ("DCX", 0, b"\xb1\x68\xde\x3a"),
    ("Photo CD", 2048, b"PCD_IPI"),
    ("NIfTI", 344, b"n+1\0"),
    ("NRRD", 0, b"NRRD0"),
    ("MIFF", 0, b"id=ImageMagick"),
    ("farbfeld", 0, b"farbfeld"),
    ("JBIG2", 0, b"\x97JB2\r\n\x1a\n"),
    ("KTX", 0, b"\xabKTX "),
    ("OpenEXR", 0, b"\x76\x2f\x31\x01"),
    ("Radiance HDR", 0, b"#?RADIANCE"),
    ("Radiance HDR", 0, b"#?RGBE"),
    ("FITS", 0, b"SIMPLE  ="),
    ("PDF", 0, b"%PDF-"),
    ("PostScript", 0, b"%!PS"),
    ("PostScript", 0, b"\xc5\xd0\xd3\xc6"),
    ("XCF", 0, b"gimp xcf"),
    ("QOI", 0, b"qoif"),
    ("ICNS", 0, b"icns"),
    ("MNG", 0, b"\x8aMNG\r\n\x1a\n"),
    ("JNG", 0, b"\x8bJNG\r\n\x1a\n"),
    ("WMF", 0, b"\xd7\xcd\xc6\x9a"),
    ("EMF", 40, b" EMF"),
    ("FLIF", 0, b"FLIF"),
    ("BPG", 0, b"BPG\xfb"),
    ("DJVU", 0, b"AT&TFORM"),
    ("XPM", 0, b"/* XPM */"),
)
_GZIP: Final = b"\x1f\x8b"
_HEAD: Final = 4096  # bytes, of text and of what is packed, in which a format must show
# Signatures with a gap, or so short that a text may begin with them.
_PATTERNS: Final = (
    ("WEBP", re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
    ("BMP", re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)),
    ("TGA", re.compile(rb"\0\0[\x02\x0a]\0{5}")),
    ("PCX", re.compile(rb"\x0a[\0\2-\5]\x01[\1\2\4\x08]")),
    ("SGI", re.compile(rb"\x01\xda[\0\1][\1\2]\0[\1-\3]")),
    ("IFF", re.compile(rb"FORM.{4}(ILBM|PBM |ACBM|DEEP|RGB8)", re.DOTALL)),
    ("XBM", re.compile(rb"\s*(/\*.*?\*/\s*)?#define\s+\w*width\s+[0-9]", re.DOTALL)),
    ("CUR", re.compile(rb"\0\0\x02\0")),
    ("Netpbm", re.compile(rb"P[1-6][ \t\r\n]+[#0-9]|P7\nWIDTH |P[Ff]\n[0-9]")),
)


def name_format(content: bytes) -> str | None:
    """The image format whose signature `content` has, or None."""
    name = _by_signature(content) or _packed(content) or _cut_signature(content)
    return name_raw(content) or name if name == "TIFF" else name


def _by_signature(content: bytes) -> str | None:
    for name, offset, signature in _SIGNATURES:
        if content.startswith(signature, offset):
            return name
    head = content[:_HEAD]
    for name, pattern in _PATTERNS:
        if pattern.match(head):
            return name
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    is_xml = text.startswith((b"<?xml", b"<!--", b"<!doctype svg", b"<svg"))
    return "SVG" if is_xml and b"<svg" in text else None


def _packed(content: bytes) -> str | None:
    """The format of an image in gzip, as in "JPEG in gzip"."""
    if not content.startswith(_GZIP):
        return None
    try:
        head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(content[:_HEAD], _HEAD)
    except zlib.error:
        return None
    name = _by_signature(head)
    return name and f"{name} in gzip"


def _cut_signature(content: bytes) -> str | None:
    """The decoded format that a file of a few bytes was about to become."""
    if not _SHORTEST_START <= len(content) < _LONGEST_START:
        return None
    if content.startswith(b"BM"):
        return "BMP"
    starts = (row for row in _SIGNATURES if row[0] in FORMATS)
    return next((name for name, _, signature in starts if signature.startswith(content)), None)
