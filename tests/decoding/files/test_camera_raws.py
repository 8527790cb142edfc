import struct
import time

import pytest

from tests.helpers.image_files import raw, saved, tiff
from tests.helpers.odd_images import picture
from transforms.decoding.files.camera_raws import name_raw
from transforms.decoding.formats import name_format

THUMBNAIL = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1}


@pytest.mark.parametrize(
    ("make", "name"),
    [
        ("NIKON CORPORATION", "Nikon raw"),
        ("SONY", "Sony raw"),
        ("PENTAX Corporation ", "Pentax raw"),
        ("EASTMAN KODAK COMPANY", "Kodak raw"),
        ("Acme Scanners", "TIFF that begins with a thumbnail"),
        ("", "TIFF that begins with a thumbnail"),
    ],
)
def test_a_thumbnail_before_a_full_picture_is_named_after_the_maker(make: str, name: str) -> None:
    assert name_raw(raw(make)) == name
    assert name_format(raw(make)) == name


def test_a_dng_is_told_by_its_version() -> None:
    version = struct.pack("<HI4B", 1, 4, 1, 4, 0, 0)
    assert name_raw(raw("SONY", {50706: version})) == "DNG"
    assert name_raw(tiff(THUMBNAIL | {50706: version}, bytes(64))) == "DNG"


@pytest.mark.parametrize(("mark", "name"), [(b"CR\2\0", "Canon raw"), (b"IIII", "Phase One raw")])
def test_a_mark_behind_the_header_tells_a_raw(mark: bytes, name: str) -> None:
    assert name_raw(tiff(THUMBNAIL, mark + bytes(60))) == name


@pytest.mark.parametrize("tags", [{262: 32803}, {262: 34892}, {259: 65535}])
def test_values_of_a_sensor_are_no_picture_wherever_they_lie(tags: dict[int, int]) -> None:
    assert name_raw(raw("PENTAX", {254: 0}, tags)) == "Pentax raw"
    assert name_raw(raw("", {254: 0}, tags)) == "camera raw"
    assert name_raw(tiff(THUMBNAIL | tags, bytes(64))) == "camera raw"


@pytest.mark.parametrize(
    ("tags", "below"),
    [
        ({254: 0}, {}),  # a full picture first
        ({254: 1}, {254: 1}),  # none that is full
        ({254: 1}, {254: 4}),  # a mask
        ({254: 1}, {254: 5}),
        ({254: 1, 330: 10**6}, {}),  # beyond the end of the file
    ],
)
def test_any_other_tiff_is_a_tiff(tags: dict[int, int], below: dict[int, int]) -> None:
    assert name_raw(raw("NIKON CORPORATION", tags, below)) is None
    assert name_format(raw("NIKON CORPORATION", tags, below)) == "TIFF"


def test_a_directory_without_a_width_is_no_picture() -> None:
    content = raw("SONY")
    width = struct.pack("<HHII", 256, 4, 1, 600)
    assert name_raw(content.replace(width, struct.pack("<HHII", 255, 4, 1, 0))) is None


def test_the_old_tag_of_a_reduced_picture_counts_where_the_new_one_is_missing() -> None:
    content = raw("SONY", {255: 2})
    assert name_raw(content) == "Sony raw"
    assert name_raw(content.replace(struct.pack("<HHI", 254, 3, 1), struct.pack("<HHI", 253, 3, 1)))
    assert name_raw(raw("SONY", {254: 0, 255: 2})) is None


def test_a_thumbnail_before_a_further_page_is_a_thumbnail() -> None:
    pages = [picture().resize((200, 150)), picture()]
    plain = saved(picture(), "TIFF", save_all=True, append_images=pages)
    assert name_raw(plain) is None
    flagged = saved(
        picture(), "TIFF", save_all=True, append_images=pages, tiffinfo={254: 1, 271: "SONY"}
    )
    assert name_raw(flagged) is None  # Pillow writes the tag into each page
    second = flagged.rindex(struct.pack("<HHII", 254, 4, 1, 1))
    full = flagged[: second + 8] + bytes(4) + flagged[second + 12 :]
    assert name_raw(full) == "Sony raw"


def test_directories_in_a_circle_come_to_an_end() -> None:
    content = raw("SONY", {}, {254: 1})
    first = struct.unpack_from("<I", content, 4)[0]
    assert name_raw(content[:-4] + struct.pack("<I", first)) is None


def test_directories_of_very_many_entries_take_no_time() -> None:
    entries = struct.pack("<H", 65_535) + struct.pack("<HHII", 256, 4, 1, 8) * 65_535
    below = tuple([8 + 64] * 1000)
    start = time.process_time()
    assert name_raw(tiff(THUMBNAIL | {254: 0, 279: 64, 330: below}, bytes(64) + entries)) is None
    assert time.process_time() - start < 0.5
