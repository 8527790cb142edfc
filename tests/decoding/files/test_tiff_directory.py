import io
import struct

import numpy as np
import pytest
from PIL.TiffImagePlugin import TiffImageFile

from tests.helpers.image_files import tiff
from tests.helpers.odd_images import content_of, plain_files
from transforms.decoding.files.tiff_directory import (
    BITS,
    HEIGHT,
    ORIENTATION,
    PLANAR,
    WIDTH,
    Directory,
    is_whole,
    numbers,
    pixels_only,
    read_directory,
)
from transforms.failures import ImageError

LIMIT = 180_000_000
Tags = dict[int, int | tuple[int, ...] | bytes]
GREY: Tags = {256: 8, 257: 4, 258: 8, 259: 1, 262: 1}


def opened(content: bytes) -> TiffImageFile:
    return TiffImageFile(io.BytesIO(content))


def directory(content: bytes) -> Directory:
    found = read_directory(content)
    assert found is not None
    return found


def refused(content: bytes, max_pixels: int = LIMIT) -> ImageError:
    with pytest.raises(ImageError) as caught:
        pixels_only(content, max_pixels)
    return caught.value


@pytest.mark.parametrize(("order", "is_big"), [("<", False), (">", False), ("<", True)])
def test_values_are_read_in_either_order_and_size(order: str, is_big: bool) -> None:
    content = tiff(GREY | {BITS: (8, 9, 10, 11, 12)}, bytes(32), order, is_big)
    found = directory(content)
    assert (found.order, found.is_big) == (order, is_big)
    assert numbers(content, found, WIDTH) == (8,)
    assert numbers(content, found, HEIGHT) == (4,)
    assert numbers(content, found, BITS) == (8, 9, 10, 11, 12)
    assert numbers(content, found, ORIENTATION) == ()


@pytest.mark.parametrize("name", ["plain.tif", "plain_lzw.tif", "jpeg.tif", "CMYK.tif", "P.tif"])
def test_the_pixels_stay_what_they_are(name: str) -> None:
    content = plain_files().get(name) or content_of(name)
    whole, kept = opened(content), opened(pixels_only(content, LIMIT))
    assert kept.mode == whole.mode
    np.testing.assert_array_equal(np.asarray(kept), np.asarray(whole))


def test_only_entries_that_make_pixels_are_kept() -> None:
    with_more = tiff(GREY | {270: 1, 305: 2, 34665: 8, 34853: 8, 700: 9}, bytes(32))
    kept = directory(pixels_only(with_more, LIMIT)).entries
    assert sorted(kept) == [256, 257, 258, 259, 262, 273, 277, 279]


def test_the_new_directory_begins_where_the_format_allows_it() -> None:
    (at,) = struct.unpack_from("<I", pixels_only(tiff(GREY, bytes(33)), LIMIT), 4)
    assert at % 8 == 0


def test_a_private_entry_may_have_many_values() -> None:
    content = tiff(GREY | {40000: struct.pack("<HII", 7, 2_000_000, 8)}, bytes(32))
    assert 40000 in directory(content).entries
    assert pixels_only(content, LIMIT)


def test_more_values_than_a_picture_has_are_not_read() -> None:
    content = tiff(GREY | {40000: (7,) * 200_001}, bytes(32))
    assert numbers(content, directory(content), 40000) == ()


def test_an_entry_whose_value_is_not_there_is_left_out() -> None:
    beyond = struct.pack("<HII", 4, 90, 100)
    content = tiff(GREY | {257: beyond}, bytes(32))
    assert len(content) < 100 + 90 * 4
    assert 257 not in directory(pixels_only(content, LIMIT)).entries
    assert not is_whole(content)


def test_further_pages_are_left_out() -> None:
    assert opened(content_of("pages.tif")).n_frames == 3
    assert opened(pixels_only(content_of("pages.tif"), LIMIT)).n_frames == 1


def test_tags_that_all_claim_the_same_megabyte_are_not_read() -> None:
    claim = struct.pack("<HII", 7, 1_000_000, 8)
    content = tiff(GREY | dict.fromkeys(range(40000, 43000), claim), bytes(1_000_000))
    assert len(pixels_only(content, LIMIT)) < len(content) + 200


def test_more_strips_than_a_picture_has_are_refused() -> None:
    error = refused(tiff(GREY | {273: (1,) * 200_001}, b""))
    assert error.error == "unsupported_format"
    assert str(error) == "TIFF with 200,001 values of tag 273, more than 200,000; re-save it"


def test_more_rationals_than_colours_need_are_refused() -> None:
    claim = struct.pack("<HII", 5, 17, 8)
    assert pixels_only(tiff(GREY | {40_000: claim}, bytes(200)), LIMIT)
    error = refused(tiff(GREY | {BITS: claim}, bytes(200)))
    assert error.error == "unsupported_format"
    assert str(error) == "TIFF with 17 values of tag 258, more than 16; re-save it"


@pytest.mark.parametrize(
    ("tags", "given", "needed"),
    [
        ({257: 400, 278: 100}, 1, 4),
        ({257: 400, 278: 100, 273: (8, 8, 8)}, 3, 4),
        ({322: 4, 323: 4, 324: 8, 325: 16}, 1, 2),
    ],
)
def test_rows_without_pixels_are_no_picture(
    tags: dict[int, int | tuple[int, ...]], given: int, needed: int
) -> None:
    error = refused(tiff({**GREY, **tags}, bytes(32)))
    assert error.error == "corrupt"
    assert str(error) == f"TIFF with {given} of the {needed} strips or tiles it needs"


def test_strips_need_not_be_counted_exactly() -> None:
    assert pixels_only(tiff(GREY | {257: 400, 278: 100, 273: (8,) * 5}, bytes(32)), LIMIT)
    assert pixels_only(tiff(GREY | {257: 400}, bytes(32)), LIMIT)
    assert pixels_only(tiff(GREY | {257: 400, 259: 6, 278: 1}, bytes(32)), LIMIT)


def test_tiles_count_as_pixels() -> None:
    tiled = GREY | {322: 1000, 323: 1000}
    assert pixels_only(tiff(tiled, bytes(32)), 1_000_000)
    error = refused(tiff(tiled, bytes(32)), 999_999)
    assert error.error == "too_many_pixels"
    assert "tiles of 1000 x 1000 pixels is more than the limit of 999,999" in str(error)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tiff(GREY | {259: 34661}, bytes(8)), "TIFF with compression 34661"),
        (tiff(GREY | {258: (8,) * 7, 277: 7}, bytes(224)), "TIFF of 7 bands; save three of them"),
        (tiff(GREY | {277: 7}, bytes(224)), "TIFF of 7 bands"),
        (tiff(GREY, bytes(32), ">", is_big=True), "BigTIFF with its bytes in big-endian order"),
    ],
)
def test_what_no_decoder_here_knows_is_unsupported(content: bytes, message: str) -> None:
    error = refused(content)
    assert error.error == "unsupported_format"
    assert message in str(error)


SEVEN: Tags = {258: (8,) * 7, 262: 2, 277: 7, 273: (8,) * 7, 279: (32,) * 7, 284: 2}


def test_compressed_planes_of_unknown_use_do_not_count() -> None:
    unused: Tags = GREY | SEVEN | {259: 5, 338: (0,) * 4}
    assert opened(pixels_only(tiff(unused, bytes(32)), LIMIT)).mode == "RGB"
    error = refused(tiff(unused | {338: (1, 0, 0, 0)}, bytes(32)))
    assert str(error) == "TIFF of 7 bands; save three of them"


@pytest.mark.parametrize("tags", [{258: (8,) * 4, 277: 4, 338: 0}, {258: (16,) * 3, 277: 3}])
def test_planes_that_pillow_mistakes_are_unsupported(tags: Tags) -> None:
    in_planes: Tags = GREY | SEVEN | tags
    error = refused(tiff(in_planes, bytes(64)))
    assert error.error == "unsupported_format"
    assert str(error) == (
        "TIFF in planes of 16 bits or with planes of unknown use, not compressed; re-save it"
    )
    assert opened(pixels_only(tiff(in_planes | {259: 5}, bytes(64)), LIMIT)).mode == "RGB"


def test_a_single_band_has_no_planes() -> None:
    sixteen = tiff(GREY | {258: 16, 284: 2}, bytes(64))
    assert PLANAR not in directory(pixels_only(sixteen, LIMIT)).entries
    assert opened(pixels_only(sixteen, LIMIT)).mode == "I;16"


def test_a_directory_beyond_the_end_is_truncated() -> None:
    assert refused(tiff(GREY, bytes(32))[:60]).error == "truncated"


@pytest.mark.parametrize("is_big", [False, True])
def test_a_file_is_whole_up_to_the_last_byte_that_matters(is_big: bool) -> None:
    content = tiff(GREY | {BITS: (8,) * 9}, bytes(32), is_big=is_big)
    assert is_whole(content)
    assert not any(is_whole(content[:length]) for length in range(len(content)))
    strip_first = tiff(GREY, bytes(32), is_big=is_big)
    moved = strip_first.replace(struct.pack("<I", 32), struct.pack("<I", 9999))
    assert not is_whole(moved)


@pytest.mark.parametrize(
    ("offsets", "sizes", "compression", "expected"),
    [
        ((8, 24), (16, 16), 1, True),
        ((8, 20), (12, 16), 1, False),
        ((8, 24), (3, 3), 1, True),  # said wrong
        ((8, 8), (16, 16), 1, True),
        ((8, 20), (12, 16), 5, True),
    ],
)
def test_a_strip_is_short_if_the_next_one_begins_within_its_rows(
    offsets: tuple[int, ...], sizes: tuple[int, ...], compression: int, expected: bool
) -> None:
    rows = GREY | {257: 4, 278: 2, 259: compression}
    assert is_whole(tiff({**rows, 273: offsets, 279: sizes}, bytes(32))) is expected
