"""What is left of an image file without its metadata, and what the metadata said of the picture."""

from typing import Final, NamedTuple

from transforms.failures import ImageError

# Segments, chunks or blocks: each costs Python a microsecond, here and again in Pillow. Encoders
# make at most 12,000 chunks of 100 MB.
_MOST_PARTS: Final = 200_000
# Profiles of displays, cameras and standards have a few kilobytes; those of printers, which have
# more, belong to CMYK as a rule.
MOST_PROFILE_BYTES: Final = 250_000


class SampleTags(NamedTuple):
    """What a TIFF's tags say of its samples: least, greatest, and the value that is no data."""

    lowest: float | None = None
    highest: float | None = None
    missing: float | None = None


class Stripped(NamedTuple):
    """What a decoder needs, how to turn the picture upright, and whether its end is there.

    `orientation` is 1 to 8 as in EXIF. `is_scalable` and `scans` are for JPEG: whether it may be
    decoded at 1/2, 1/4 or 1/8, and in how many scans, 0 if one pass over the file makes all the
    pixels and no coefficients need be kept. `samples` is for TIFF. `profile` is an ICC profile.
    """

    content: bytes
    orientation: int
    is_whole: bool
    is_scalable: bool = False
    scans: int = 0
    samples: SampleTags = SampleTags()
    profile: bytes = b""


class Parts:
    """Counts the parts of a file, and refuses one that is nothing but parts."""

    def __init__(self, name: str, most: int = _MOST_PARTS) -> None:
        """`name` is the format's, for the message."""
        self._name, self._most, self._count = name, most, 0

    def add(self) -> None:
        """One more.

        Raises:
            ImageError: corrupt, beyond the most.
        """
        self._count += 1
        if self._count > self._most:
            raise ImageError("corrupt", f"{self._name} in more than {self._most:,} parts")
