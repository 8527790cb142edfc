import io

import numpy as np
import pytest

from tests.helpers.image_files import saved
from tests.helpers.odd_images import content_of, odd_images, picture
from tests.helpers.short_files import tiff_cut
from transforms.decoding.open_image import open_image
from transforms.decoding.tiff_reader import TiffReader

WHOLE = [name for name, (_, error) in odd_images().items() if name.endswith(".tif") and not error]


def words(content: bytes) -> str:
    with pytest.raises(OSError, match=r"\w") as caught:
        TiffReader(io.BytesIO(content)).load()
    return str(caught.value)


@pytest.mark.parametrize("name", WHOLE)
def test_what_libtiff_can_read_in_full_is_loaded(name: str) -> None:
    found = open_image(content_of(name), "TIFF", 10**8)
    assert isinstance(found, TiffReader)
    found.load()
    assert found.tile == []


@pytest.mark.parametrize(
    ("compression", "said"),
    [
        ("tiff_lzw", "LZWDecode: Strip 0 not terminated with EOI code"),
        ("packbits", "Not enough data for scanline 0"),
        ("jpeg", "Premature end of JPEG file"),
        ("group4", "Premature EOF at line 13 of strip 0"),
        ("tiff_ccitt", "Premature EOF at line"),
        ("group3", "Try to decode (read) fax Group 3 data without EOL at line"),
    ],
)
def test_a_short_strip_is_truncated_in_the_words_of_libtiff(compression: str, said: str) -> None:
    is_fax = compression in ("group3", "group4", "tiff_ccitt")
    image = picture().convert("1") if is_fax else picture()
    content = tiff_cut(saved(image, "TIFF", compression=compression), 20)
    assert words(content).startswith("image file is truncated: ")
    assert said in words(content)


def test_damage_is_told_in_the_words_of_libtiff() -> None:
    content = bytearray(saved(picture(), "TIFF", compression="tiff_lzw"))
    content[8:40] = b"\xff" * 32
    assert words(bytes(content)) == "Using code not yet in table"


def test_what_is_said_of_one_image_is_forgotten_with_the_next() -> None:
    whole = saved(picture(), "TIFF", compression="tiff_lzw")
    assert "truncated" in words(tiff_cut(whole, 20))
    np.testing.assert_array_equal(np.asarray(TiffReader(io.BytesIO(whole))), np.asarray(picture()))


def test_what_libtiff_warns_of_besides_is_no_damage() -> None:
    """Of a tag that it does not know, for one."""
    content = saved(picture(), "TIFF", compression="tiff_lzw", tiffinfo={60_000: "mine"})
    np.testing.assert_array_equal(
        np.asarray(TiffReader(io.BytesIO(content))), np.asarray(picture())
    )
