import io
import struct

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.image_files import saved
from tests.helpers.odd_images import content_of, odd_images, picture
from transforms.choices import Resize
from transforms.decoding import large_webp
from transforms.decoding.decode_image import Preprocessing, decode_opened, open_for_decoding
from transforms.decoding.large_webp import LargeWebp
from transforms.failures import ImageError

SIDE = 48
LIMIT = 10_000_000
LARGER = picture().resize((801, 600))


@pytest.fixture
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_webp, "_LARGE_PIXELS", 0)


def decode(content: bytes, resize: Resize = "crop") -> NDArray[np.uint8]:
    preprocessing = Preprocessing(SIDE, resize, LIMIT)
    return decode_opened(open_for_decoding(content, preprocessing), preprocessing).pixels


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def animation(canvas: tuple[int, int], at: tuple[int, int], frame: Image.Image) -> bytes:
    """A WebP whose first frame covers a part of its canvas."""
    still = saved(frame, "WEBP", lossless=True)
    picture_chunk = still[still.index(b"VP8L") :]
    places = (at[0] // 2, at[1] // 2, frame.width - 1, frame.height - 1, 40)
    body = b"".join(value.to_bytes(3, "little") for value in places) + b"\0" + picture_chunk
    size = b"".join((side - 1).to_bytes(3, "little") for side in canvas)
    chunks = (
        chunk(b"VP8X", b"\x12\0\0\0" + size)
        + chunk(b"ANIM", bytes(6))
        + chunk(b"ANMF", body)
        + chunk(b"ANMF", body)
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


FILES = {
    "lossy": saved(LARGER, "WEBP"),
    "lossless": saved(LARGER, "WEBP", lossless=True),
    "transparent": saved(LARGER.convert("RGBA").rotate(30), "WEBP"),
    "lossless transparent": saved(LARGER.convert("RGBA").rotate(30), "WEBP", lossless=True),
    "turned": saved(LARGER, "WEBP", exif=content_of("turned.webp").partition(b"EXIF")[2][4:]),
    "animated": saved(LARGER, "WEBP", save_all=True, append_images=[LARGER.rotate(90)]),
    "part of the canvas": animation((800, 700), (100, 60), LARGER.crop((0, 0, 500, 400))),
    "outside of the square": animation((800, 100), (0, 0), LARGER.crop((0, 0, 90, 90))),
}


@pytest.mark.parametrize("resize", ["crop", "squash"])
@pytest.mark.parametrize("name", sorted(FILES))
def test_it_looks_as_pillow_decodes_it(
    monkeypatch: pytest.MonkeyPatch, name: str, resize: Resize
) -> None:
    expected = decode(FILES[name], resize)
    monkeypatch.setattr(large_webp, "_LARGE_PIXELS", 0)
    difference = np.abs(decode(FILES[name], resize).astype(int) - expected)
    assert difference.mean() < 1.5
    assert np.percentile(difference, 98) < (15 if name == "part of the canvas" else 11)  # its edge


@pytest.mark.parametrize("name", sorted(FILES))
def test_keras_gives_the_pixels_of_load_img(all_are_large: None, name: str) -> None:
    expected = keras.utils.load_img(io.BytesIO(FILES[name]), target_size=(SIDE, SIDE))
    found = decode(FILES[name], "keras")
    if "transparent" in name:  # where nothing is to be seen, colours are anything
        alpha = np.asarray(Image.open(io.BytesIO(FILES[name])).resize((SIDE, SIDE), 0))[..., 3]
        np.testing.assert_array_equal(found[alpha == 255], np.asarray(expected)[alpha == 255])
    else:
        np.testing.assert_array_equal(found, np.asarray(expected))


@pytest.mark.parametrize("percent", [3, 20, 50, 90, 99])
@pytest.mark.parametrize("name", ["lossy", "lossless", "transparent", "turned"])
def test_what_ends_too_early_is_truncated(all_are_large: None, name: str, percent: int) -> None:
    content = FILES[name]
    with pytest.raises(ImageError) as caught:
        decode(content[: len(content) * percent // 100])
    assert caught.value.error == "truncated"


def test_an_animation_needs_only_its_first_frame(all_are_large: None) -> None:
    content, cut = FILES["animated"], FILES["animated"].index(b"ANMF", 100)
    np.testing.assert_array_equal(decode(content[:cut]), decode(content))
    with pytest.raises(ImageError) as caught:
        decode(content[: cut - 100])
    assert caught.value.error == "truncated"


@pytest.mark.parametrize("name", [n for n, (_, e) in odd_images().items() if n.endswith(".webp")])
def test_odd_files_get_the_same_reason(all_are_large: None, name: str) -> None:
    content, error = odd_images()[name]
    if error is None:
        assert decode(content).shape == (SIDE, SIDE, 3)
        return
    with pytest.raises(ImageError) as caught:
        decode(content)
    assert caught.value.error == error


def test_the_limit_of_pixels_is_exact(all_are_large: None) -> None:
    assert LargeWebp(FILES["lossy"], 801 * 600).size == (801, 600)
    with pytest.raises(ImageError, match="WEBP of 801 x 600 pixels is more than the limit"):
        LargeWebp(FILES["lossy"], 801 * 600 - 1)


def test_a_frame_beyond_its_canvas_is_corrupt(all_are_large: None) -> None:
    with pytest.raises(ImageError, match="reaches beyond the canvas"):
        decode(animation((100, 100), (0, 0), LARGER))


def test_without_libwebp_pillow_decodes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = decode(FILES["lossy"])
    monkeypatch.setattr(large_webp, "_LARGE_PIXELS", 0)
    monkeypatch.setattr(large_webp, "_libwebp", None)
    np.testing.assert_array_equal(decode(FILES["lossy"]), expected)
