"""A TIFF's first page without what makes no pixels, and what its tags say of them."""

from typing import Final

from transforms.decoding.files.orientation import orientation
from transforms.decoding.files.stripped import MOST_PROFILE_BYTES, SampleTags, Stripped
from transforms.decoding.files.tiff_directory import (
    Directory,
    is_whole,
    pixels_only,
    read_directory,
    reals,
    stored_bytes,
)

# SMinSampleValue and MinSampleValue, SMaxSampleValue and MaxSampleValue.
_LEAST_SAMPLE, _GREATEST_SAMPLE = (340, 280), (341, 281)
_XMP, _PROFILE, _GDAL_NODATA = 700, 34675, 42113
_LONGEST_NUMBER: Final = 40


def strip_tiff(content: bytes, max_pixels: int) -> Stripped:
    """`content` with a first directory of nothing but what makes the pixels of the first page.

    Raises:
        ImageError: truncated, corrupt, unsupported_format or too_many_pixels.
    """
    pixels, directory = pixels_only(content, max_pixels), read_directory(content)
    assert directory is not None  # or `pixels_only` raises
    turn = orientation(content, xmp=stored_bytes(content, directory, _XMP))
    profile = stored_bytes(content, directory, _PROFILE)
    return Stripped(
        pixels,
        turn,
        is_whole(content),
        samples=_sample_tags(content, directory),
        profile=profile if len(profile) <= MOST_PROFILE_BYTES else b"",
    )


def _sample_tags(content: bytes, directory: Directory) -> SampleTags:
    lowest, highest = (
        next((values[0] for tag in tags if (values := reals(content, directory, tag))), None)
        for tags in (_LEAST_SAMPLE, _GREATEST_SAMPLE)
    )
    no_data = stored_bytes(content, directory, _GDAL_NODATA)[:_LONGEST_NUMBER]
    try:
        return SampleTags(lowest, highest, float(no_data.rstrip(b"\0")))
    except ValueError:  # as of an empty text, where there is no such tag
        return SampleTags(lowest, highest)
