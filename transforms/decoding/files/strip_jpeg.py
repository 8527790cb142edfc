"""A JPEG without what makes no pixels: profiles, comments, thumbnails, previews."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from transforms.decoding.files.orientation import UPRIGHT, orientation
from transforms.decoding.files.stripped import MOST_PROFILE_BYTES, Parts, Stripped
from transforms.failures import ImageError, too_many_pixels

# Markers, T.81 table B.1: with nothing to skip; application data, comment and padding.
_PADDING: Final = 0xFF
_BARE: Final = frozenset((0x01, *range(0xD0, 0xDA)))
_METADATA: Final = frozenset((*range(0xE1, 0xEE), 0xEF, 0xFE, _PADDING))
# JFIF and Adobe, which tell the colour space. Shorter than that, with marker, they are broken.
_COLOUR, _SHORTEST_COLOUR = (0xE0, 0xEE), 16
_START_OF_SCAN, _APP1, _APP2 = 0xDA, 0xE1, 0xE2
_PROFILE: Final = b"ICC_PROFILE\0"
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
# What libjpeg-turbo does not decode.
_UNSUPPORTED_FRAMES: Final = {
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, 0xDE), "hierarchical JPEG"),
    0xCB: "lossless JPEG in arithmetic coding",
    0xF7: "JPEG-LS",
}
_FRAMES: Final = frozenset((*range(0xC0, 0xD0), *_UNSUPPORTED_FRAMES)) - {0xC4, 0xC8, 0xCC}
# Sequential or progressive DCT. libjpeg-turbo scales no lossless JPEG; Pillow expects it to, and
# then writes past its buffer.
_DCT_FRAMES: Final = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
# Sequential, or lossless: a scan that holds all components makes the pixels as it is read.
_ONE_PASS_FRAMES: Final = frozenset((0xC0, 0xC1, 0xC3, 0xC9))
_DEFINE_HEIGHT: Final = b"\xff\xdc\0\4"
# Encoders write about ten scans; each costs a pass over all pixels however few bytes it has.
_MOST_SCANNED: Final = 20
_SCAN_BYTES: Final = 10  # at least, the marker and its parameters


class _Segment(NamedTuple):
    """From its marker on."""

    marker: int
    whole: bytes

    @property
    def body(self) -> bytes:
        """Without marker and length."""
        return self.whole[4:]


def strip_jpeg(content: bytes, max_pixels: int) -> Stripped:
    """`content` as far as it makes the picture, with its JFIF and Adobe markers.

    Raises:
        ImageError: corrupt, unsupported_format or too_many_pixels, by the header.
    """
    kept, exif, profile, frames = [content[:2]], [], [], []
    xmp, at = b"", 2
    for segment in jpeg_segments(content):
        marker, whole = segment
        at += len(whole)
        if marker not in _METADATA:
            if marker in _FRAMES:
                frames.append(segment)
            if marker not in _COLOUR or len(whole) >= _SHORTEST_COLOUR:
                kept.append(whole)
        elif marker == _APP1 and whole.startswith(_EXIF, 4):
            exif.append(segment.body.removeprefix(_EXIF))
        elif marker == _APP1 and whole.startswith(_XMP, 4):
            xmp = whole
        elif marker == _APP2 and whole.startswith(_PROFILE, 4):
            profile.append(segment.body.removeprefix(_PROFILE))
    kept.append(content[at:])
    pixels, components = _frame_size(content, at, frames)
    starts_scan = content[at : at + 2] == bytes((0xFF, _START_OF_SCAN))
    is_scalable = starts_scan and len(frames) == 1 and frames[0].marker in _DCT_FRAMES
    _check_scans(content, at, pixels or max_pixels, max_pixels)
    is_whole = content.rfind(b"\xff\xd9", at) >= 0
    in_first_scan = int.from_bytes(content[at + 4 : at + 5], "big")
    is_one_pass = {frame.marker for frame in frames} <= _ONE_PASS_FRAMES
    is_one_pass &= in_first_scan == components
    scans = 0 if is_one_pass else content.count(b"\xff\xda", at)
    turn = orientation(b"".join(exif), xmp=xmp) if exif or xmp else UPRIGHT
    joined = _joined_profile(profile) if profile else b""
    return Stripped(b"".join(kept), turn, is_whole, is_scalable, scans, profile=joined)


def jpeg_segments(content: bytes) -> Iterator[_Segment]:
    """Those before the first scan; a byte of padding counts as one."""
    at, parts = 2, Parts("JPEG")
    while content[at : at + 1] == b"\xff" and at + 4 <= len(content):
        parts.add()
        marker = content[at + 1]
        if marker == _PADDING:
            yield _Segment(marker, b"\xff")
            at += 1
            continue
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if marker in _BARE or marker == _START_OF_SCAN or end > len(content):
            return
        yield _Segment(marker, content[at:end])
        at = end


def _joined_profile(parts: list[bytes]) -> bytes:
    """Each part begins with its number and how many there are; empty if not all of them are."""
    joined = b"".join(part[2:] for part in sorted(parts))
    is_whole = all(part[1:2] == bytes((len(parts) & 255,)) for part in parts)
    return joined if is_whole and len(joined) <= MOST_PROFILE_BYTES else b""


def _frame_size(content: bytes, at: int, frames: list[_Segment]) -> tuple[int, int]:
    """Pixels and components by the last frame's header; 0 and 0 where there is none."""
    pixels = components = 0
    for marker, whole in frames:
        if marker in _UNSUPPORTED_FRAMES:
            name = _UNSUPPORTED_FRAMES[marker]
            raise ImageError("unsupported_format", f"{name} is not decoded; re-save it")
        height, width = int.from_bytes(whole[5:7], "big"), int.from_bytes(whole[7:9], "big")
        pixels, components = height * width, int.from_bytes(whole[9:10], "big")
        if height == 0 and content.find(_DEFINE_HEIGHT, at) >= 0:
            what = "JPEG whose height stands behind its first scan (DNL)"
            raise ImageError("unsupported_format", f"{what} is not decoded; re-save it")
    return pixels, components


def _check_scans(content: bytes, at: int, pixels: int, max_pixels: int) -> None:
    """Refuses a JPEG whose scans, from `at` to the end of the image, go over too many pixels."""
    most = _MOST_SCANNED * max_pixels // pixels
    # A single byte is counted in a third of the time.
    if len(content) < most * _SCAN_BYTES or content.count(b"\xda", at) <= most:
        return
    end = content.find(b"\xff\xd9", at)  # escaped within a scan, as is the start of one
    scans = content.count(b"\xff\xda", at, end if end >= 0 else None)
    if scans > most:
        raise too_many_pixels(f"JPEG with {scans:,} scans of {pixels:,}", max_pixels)
