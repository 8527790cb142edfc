import struct

import pytest

from tests.helpers.icc_profiles import grey_profile
from tests.helpers.image_files import tiff
from transforms.decoding.files.strip_tiff import strip_tiff
from transforms.decoding.files.stripped import MOST_PROFILE_BYTES, SampleTags

Tags = dict[int, int | tuple[int, ...] | bytes]
GREY: Tags = {256: 4, 257: 4, 258: 8, 259: 1, 262: 1, 279: 16}


def samples(tags: Tags, tail: bytes = b"") -> SampleTags:
    return strip_tiff(tiff(GREY | tags, bytes(16) + tail), 10**6).samples


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ({}, SampleTags()),
        ({280: 3, 281: 4095}, SampleTags(3, 4095)),
        ({280: 3, 281: (4095, 4000)}, SampleTags(3, 4095)),
        ({340: struct.pack("<HIhh", 8, 1, -5, 0)}, SampleTags(-5, None)),
        ({341: struct.pack("<HIf", 11, 1, 0.5), 281: 7}, SampleTags(None, 0.5)),
        ({341: struct.pack("<HI4s", 2, 4, b"0.5")}, SampleTags()),  # a text
    ],
)
def test_tags_tell_the_least_and_the_greatest_sample(tags: Tags, found: SampleTags) -> None:
    assert samples(tags) == found


def test_a_text_tells_the_value_of_no_data() -> None:
    for text, value in ((b"-9999.5\0", -9999.5), (b" 1e20 \0", 1e20), (b"nonsense\0", None)):
        entry = struct.pack("<HII", 2, len(text), 8 + 16)
        assert samples({42113: entry}, text) == SampleTags(missing=value)


def test_a_profile_is_handed_on_up_to_its_greatest_size() -> None:
    profile = grey_profile(1.0)
    entry = struct.pack("<HII", 7, len(profile), 8 + 16)
    content = tiff(GREY | {34675: entry}, bytes(16) + profile)
    assert strip_tiff(content, 10**6).profile == profile
    large = tiff(
        GREY | {34675: struct.pack("<HII", 7, MOST_PROFILE_BYTES + 1, 8 + 16)},
        bytes(16 + MOST_PROFILE_BYTES + 1),
    )
    assert strip_tiff(large, 10**6).profile == b""
