import io
import struct
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from apache_beam import Create, FlatMap
from apache_beam.testing.test_pipeline import TestPipeline as Pipeline
from apache_beam.testing.util import assert_that
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tests.helpers.image_files import exif, saved
from tests.helpers.model_fixtures import PHOTOS, SHARED, needs_shared
from tests.helpers.odd_images import HEIGHT, WIDTH, content_of, odd_images, picture, plain_files
from transforms import decode_images
from transforms.choices import Resize
from transforms.decode_images import DecodeImages, Picture, Preprocessing, decode_image
from transforms.decoding import decode_image as decode_image_module
from transforms.decoding.decode_image import decode_opened, open_for_decoding
from transforms.decoding.formats import name_format
from transforms.decoding.pixels import resize as resize_module
from transforms.failures import Failure, ImageError
from transforms.records import Chunk, DecodedImage, FetchedImage, ListedImage, Slot

SIDE = 64
LIMIT = 10**8


def decode(content: bytes, resize: Resize = "crop", size: int = SIDE) -> Picture:
    return decode_image(content, Preprocessing(size, resize, LIMIT))


def failure(content: bytes, max_pixels: int = LIMIT) -> Failure:
    with pytest.raises(ImageError) as caught:
        decode_image(content, Preprocessing(SIDE, "crop", max_pixels))
    return caught.value.at("decode")


def by_pillow(image: Image.Image, resize: Resize, size: int = SIDE) -> NDArray[np.uint8]:
    """What `crop` and `squash` promise, for an upright RGB image."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side) if resize == "crop" else None
    bilinear = Image.Resampling.BILINEAR
    return np.asarray(image.resize((size, size), bilinear, box=box, reducing_gap=2.0))


def photographs() -> list[Path]:
    return sorted(PHOTOS.iterdir())


# Turning, cutting and resizing.


@pytest.mark.parametrize("resize", ["crop", "squash"])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation_is_turned_upright(turn: int, format: str, resize: Resize) -> None:
    tag = Image.Exif()
    tag[0x0112] = turn
    content = saved(picture(), format, exif=tag)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    found = decode(content, resize)
    np.testing.assert_array_equal(found.pixels, by_pillow(upright.convert("RGB"), resize))
    assert (found.width, found.height) == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("turn", "corner"),
    [(1, 0), (2, 1), (3, 3), (4, 2), (5, 0), (6, 2), (7, 3), (8, 1)],
)
def test_the_corner_that_belongs_to_the_top_left_comes_there(turn: int, corner: int) -> None:
    quarters = np.zeros((SIDE, SIDE, 3), np.uint8)
    down, right = divmod(corner, 2)
    quarters[down * 32 :, right * 32 :][:32, :32] = 255
    found = decode(saved(Image.fromarray(quarters), "PNG", exif=exif(turn))).pixels
    assert [found[y, x, 0] for y in (8, 56) for x in (8, 56)] == [255, 0, 0, 0]


@pytest.mark.parametrize("resize", ["crop", "squash"])
@pytest.mark.parametrize("size", [(300, 200), (200, 300), (301, 200), (64, 65), (20, 30), (1, 9)])
def test_the_largest_centred_square_or_all_of_it_is_resized(
    size: tuple[int, int], resize: Resize
) -> None:
    image = picture().resize(size)
    expected = by_pillow(image, resize)
    np.testing.assert_array_equal(decode(saved(image, "PNG"), resize).pixels, expected)


def test_what_the_crop_cuts_off_has_no_influence() -> None:
    pixels = np.full((100, 300, 3), 255, np.uint8)
    pixels[:, 100:200] = (10, 20, 30)
    found = decode(saved(Image.fromarray(pixels), "PNG")).pixels
    assert (found[:, 2:-2] == (10, 20, 30)).all()  # the filter reaches two pixels beyond the edge


@pytest.mark.parametrize("path", photographs(), ids=lambda path: path.name)
def test_keras_gives_the_pixels_of_load_img(path: Path) -> None:
    np.testing.assert_array_equal(
        decode(path.read_bytes(), "keras", 224).pixels,
        keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224))),
    )


@needs_shared
def test_keras_gives_the_pixels_of_load_img_on_photographs_of_imagenet() -> None:
    for path in sorted((SHARED / "images").iterdir())[::8]:
        expected = keras.utils.load_img(path, target_size=(224, 224))
        found = decode(path.read_bytes(), "keras", 224)
        np.testing.assert_array_equal(found.pixels, np.asarray(expected), err_msg=path.name)


@pytest.mark.parametrize("name", [name for name, (_, error) in odd_images().items() if not error])
def test_keras_gives_the_pixels_of_load_img_wherever_that_gives_any(name: str) -> None:
    content = content_of(name)
    try:
        expected = keras.utils.load_img(io.BytesIO(content), target_size=(SIDE, SIDE))
    except (OSError, SyntaxError, ValueError, AssertionError, KeyError):
        assert decode(content, "keras").pixels.shape == (SIDE, SIDE, 3)  # more than load_img can
        return
    if name == "text_as_state.png":
        return  # load_img takes a text named "interlace" for the flag, and shows noise
    np.testing.assert_array_equal(decode(content, "keras").pixels, np.asarray(expected))


# A large JPEG is decoded at a fraction of its size.


@pytest.fixture(scope="module")
def large_jpeg() -> bytes:
    photograph = Image.open(PHOTOS / "dahlia.jpg").convert("RGB")
    return saved(photograph.resize((4000, 3000), Image.Resampling.BICUBIC), "JPEG", quality=90)


def levels_from_full(jpeg: bytes, size: int) -> NDArray[np.int64]:
    """By how much each value differs from decoding in full."""
    full = by_pillow(Image.open(io.BytesIO(jpeg)), "crop", size)
    return np.abs(decode(jpeg, size=size).pixels.astype(int) - full)


@pytest.mark.parametrize("size", [96, 224])
def test_a_large_photograph_looks_as_if_it_was_decoded_in_full(
    large_jpeg: bytes, size: int
) -> None:
    found = decode(large_jpeg, size=size)
    assert (found.width, found.height) == (4000, 3000)
    difference = levels_from_full(large_jpeg, size)
    assert difference.mean() < 2
    assert np.percentile(difference, 99) < 25


@pytest.mark.parametrize("size", [(4000, 3000), (3001, 4007), (448, 448), (450, 447)])
def test_decoding_at_a_fraction_moves_nothing(size: tuple[int, int]) -> None:
    """Red rises from left to right and green from top to bottom."""
    ramp = np.zeros((size[1], size[0], 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, size[0]).round()
    ramp[..., 1] = np.linspace(0, 255, size[1])[:, np.newaxis].round()
    found = decode(saved(Image.fromarray(ramp), "JPEG", quality=95, subsampling=0), size=100).pixels
    for length, values in ((size[0], found[50, :, 0]), (size[1], found[:, 50, 1])):
        at = (length - min(size)) // 2 + (np.arange(100) + 0.5) * min(size) / 100 - 0.5
        np.testing.assert_allclose(values[2:-2], at[2:-2] * 255 / (length - 1), atol=2)


def test_a_large_jpeg_is_decoded_faster_than_in_full(large_jpeg: bytes) -> None:
    def seconds(resize: Resize) -> float:
        start = time.perf_counter()
        decode(large_jpeg, resize, 224)
        return time.perf_counter() - start

    scaled, full = (min(seconds(resize) for _ in range(3)) for resize in ("crop", "keras"))
    assert scaled < full * 0.7


def test_a_lossless_jpeg_is_decoded_in_full() -> None:
    grey = picture().convert("L")
    assert min(grey.size) > 2 * 32
    found = decode(content_of("lossless.jpg"), size=32).pixels
    np.testing.assert_array_equal(found, by_pillow(grey.convert("RGB"), "crop", 32))


# The first picture of several.


@pytest.mark.parametrize("name", ["animated.png", "pages.tif"])
def test_the_first_frame_counts(name: str) -> None:
    np.testing.assert_array_equal(decode(content_of(name)).pixels, by_pillow(picture(), "crop"))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "MPO"])
def test_the_first_frame_counts_where_saving_changes_it(format: str) -> None:
    frames = [picture().rotate(angle) for angle in (90, 180)]
    several = decode(saved(picture(), format, save_all=True, append_images=frames))
    alone = decode(saved(picture(), "JPEG" if format == "MPO" else format))
    assert np.abs(several.pixels.astype(int) - alone.pixels).mean() < 4
    turned = decode(saved(frames[1], "PNG")).pixels
    assert np.abs(several.pixels.astype(int) - turned).mean() > 20


def test_several_pictures_in_a_jpeg_are_a_jpeg() -> None:
    assert decode(content_of("two_pictures.mpo")).format == "JPEG"


# Odd files.


@pytest.mark.parametrize("name", [name for name, (_, error) in odd_images().items() if not error])
def test_what_can_be_shown_becomes_a_picture(name: str) -> None:
    found = decode(content_of(name))
    assert found.pixels.shape == (SIDE, SIDE, 3)
    assert found.pixels.dtype == np.uint8
    assert found.format == name_format(content_of(name))
    assert (found.width, found.height) in ((WIDTH, HEIGHT), (8, 8), (4, 4))


@pytest.mark.parametrize(
    ("name", "error"), [(name, error) for name, (_, error) in odd_images().items() if error]
)
def test_what_cannot_be_shown_gets_its_reason(name: str, error: str) -> None:
    found = failure(content_of(name))
    assert found.error == error
    assert found.message.isprintable()
    assert 10 < len(found.message) <= 500
    assert "object at 0x" not in found.message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("page.jpg", "no image format begins with the bytes b'<!DOCTYPE html><'"),
        ("phone.heic", "HEIF is not decoded; convert it to one of JPEG, PNG, GIF, BMP, WEBP, TIFF"),
        ("huge.png", "PNG of 50000 x 50000 pixels is more than the limit of 100,000,000; raise"),
        ("cut_plain.png", "bytes ends too early (image file is truncated); copy it again"),
        ("twelve_bit.jpg", "is of a rare kind: cannot handle 12-bit layers; re-save it"),
        ("tables.jpg", "bytes is damaged: broken data stream when reading image file"),
    ],
)
def test_messages_give_the_value_and_the_cause(name: str, message: str) -> None:
    assert message in failure(content_of(name)).message


@pytest.mark.parametrize("name", sorted(plain_files()))
def test_a_file_cut_anywhere_is_truncated(name: str) -> None:
    content = plain_files()[name]
    shortest = 12 if name == "plain.webp" else 2
    # The end marks of PNG and GIF, and the last words of a TIFF's directory, hold no pixels.
    longest = len(content) - {"plain.png": 23, "plain.gif": 3, "plain.tif": 200}.get(name, 9)
    places = {*range(shortest, longest, len(content) // 60), *range(longest - 5, longest + 1)}
    found = {length: failure(content[:length]).error for length in places if length >= shortest}
    assert set(found.values()) == {"truncated"}, found


@pytest.mark.parametrize("name", ["plain.png", "plain.gif"])
def test_a_file_that_lacks_only_its_end_mark_is_shown(name: str) -> None:
    content = plain_files()[name]
    np.testing.assert_array_equal(decode(content[:-1]).pixels, decode(content).pixels)


@pytest.mark.parametrize("name", ["plain.jpg", "progressive.jpg", "cmyk.jpg", "lossless.jpg"])
def test_a_jpeg_that_lacks_a_few_bytes_is_truncated(name: str) -> None:
    content = odd_images()[name][0] if name != "plain.jpg" else plain_files()[name]
    for missing in range(1, 40):
        assert failure(content[:-missing]).error == "truncated"
        assert failure(content[:-missing] + bytes(100)).error == "truncated"


def test_the_limit_of_pixels_is_checked_before_decoding() -> None:
    image = saved(picture(), "PNG")
    assert failure(image, WIDTH * HEIGHT - 1).error == "too_many_pixels"
    assert decode_image(image, Preprocessing(SIDE, "crop", WIDTH * HEIGHT)).width == WIDTH


def test_any_exception_of_a_decoder_is_the_images_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(decode_image_module, "resize", fail)
    assert failure(plain_files()["plain.png"]).message.endswith("is damaged: ZeroDivisionError")


def test_an_image_without_memory_to_decode_it_has_too_many_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decode_image_module, "resize", fail)
    found = failure(plain_files()["plain.png"])
    assert found.error == "too_many_pixels"
    assert "needs more memory to decode than there is" in found.message


# Images that take much.


def noise(mode: str, size: tuple[int, int]) -> Image.Image:
    """Random pixels, each of its own."""
    width, height = size
    depth = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(1).integers(0, 256, (height, width, depth), np.uint8)
    return Image.frombytes(mode, size, values.tobytes())


@pytest.mark.parametrize("resize", ["crop", "squash"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "CMYK", "P", "1"])
@pytest.mark.parametrize("size", [(517, 401), (300, 1201), (64, 65), (3000, 70), (40, 30)])
def test_an_image_in_bands_is_as_one_in_whole(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], mode: str, resize: Resize
) -> None:
    image = noise("L", size) if mode in ("P", "1") else noise(mode, size)
    image = image.quantize(16) if mode == "P" else image.convert(mode)
    content = saved(image, "TIFF" if mode == "CMYK" else "PNG")
    whole = decode(content, resize).pixels
    monkeypatch.setattr(decode_image_module, "BANDED_PIXELS", 0)
    monkeypatch.setattr(resize_module, "BAND_PIXELS", 5000)
    np.testing.assert_array_equal(decode(content, resize).pixels, whole)


@pytest.mark.parametrize("turn", range(1, 9))
def test_an_image_in_bands_is_turned(monkeypatch: pytest.MonkeyPatch, turn: int) -> None:
    tag = Image.Exif()
    tag[0x0112] = turn
    image = picture().resize((512, 384))
    content = saved(image, "PNG", exif=tag)
    whole = decode(content).pixels
    monkeypatch.setattr(decode_image_module, "BANDED_PIXELS", 0)
    monkeypatch.setattr(resize_module, "BAND_PIXELS", 5000)
    # Columns before rows, or rows before columns: rounding may differ.
    np.testing.assert_allclose(decode(content).pixels.astype(int), whole, atol=turn >= 5)


def test_a_frame_of_a_gif_in_bands_lies_on_white(monkeypatch: pytest.MonkeyPatch) -> None:
    content = content_of("small_frame.gif")
    whole = decode(content).pixels
    monkeypatch.setattr(decode_image_module, "BANDED_PIXELS", 0)
    for pixels in (96, 300, 700):
        monkeypatch.setattr(resize_module, "BAND_PIXELS", pixels)
        np.testing.assert_array_equal(decode(content).pixels, whole)


def test_an_image_that_takes_much_is_decoded_in_a_process_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = plain_files()["plain.png"]
    here = decode(content)
    monkeypatch.setattr(decode_images, "SMALL_MEMORY", 0)
    monkeypatch.setattr(decode_images, "GUARDED_MEMORY", 0)
    monkeypatch.setattr(decode_images, "decode_opened", None)
    apart = decode(content)
    np.testing.assert_array_equal(apart.pixels, here.pixels)
    assert apart[1:] == here[1:] == (WIDTH, HEIGHT, "PNG")


@pytest.mark.parametrize("name", ["plain.tif", "turned.tif", "run_length.bmp"])
def test_what_no_header_tells_the_cost_of_is_not_even_opened_here(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    content = plain_files().get(name) or content_of(name)
    as_asked = Preprocessing(SIDE, "crop", LIMIT)
    here = decode_opened(open_for_decoding(content, as_asked), as_asked)
    monkeypatch.setattr(decode_images, "open_for_decoding", None)
    apart = decode(content)
    np.testing.assert_array_equal(apart.pixels, here.pixels)
    assert apart[1:] == here[1:]


def test_an_image_that_takes_more_than_all_memory_has_too_many_pixels() -> None:
    """Progressive, each value of each pixel kept: 150 megapixels by three by two bytes."""
    jpeg = content_of("progressive.jpg")
    frame = jpeg.index(b"\xff\xc2")
    sampled = jpeg[: frame + 11] + b"\x11" + jpeg[frame + 12 :]
    large = sampled[: frame + 5] + (12_500).to_bytes(2, "big") * 2 + sampled[frame + 9 :]
    with pytest.raises(ImageError) as caught:
        decode_image(large, Preprocessing(SIDE, "crop", 180_000_000))
    assert caught.value.error == "too_many_pixels"
    assert str(caught.value) == (
        "JPEG of 12500 x 12500 pixels needs about 979 MB to decode, more than the limit of "
        "900 MB; raise --max-pixels to raise both"
    )


def test_a_webp_costs_what_pillow_needs_for_it() -> None:
    """Two canvases, a copy and the image, of four bytes a pixel each."""
    webp, sides = plain_files()["plain.webp"], struct.pack("<HH", 8000, 8000)
    assert webp[12:16] == b"VP8 "
    large = webp[:26] + sides + webp[30:]
    with pytest.raises(ImageError) as caught:
        decode_image(large, Preprocessing(SIDE, "crop", 180_000_000))
    assert caught.value.error == "too_many_pixels"
    assert str(caught.value) == (
        "WEBP of 8000 x 8000 pixels needs about 1,056 MB to decode, more than the limit of "
        "900 MB; raise --max-pixels to raise both"
    )


# The transform.


def test_images_and_failures_go_on_in_their_slots(p: Pipeline) -> None:
    missing = Failure("not_found", "read", "no such file")
    contents = {
        "a.png": plain_files()["plain.png"],
        "b.heic": content_of("phone.heic"),
        "c.jpg": content_of("page.jpg"),
        "d.jpg": plain_files()["plain.jpg"][:-50],
    }
    slots = {name: Slot("s", 5, ListedImage(name)) for name in (*contents, "e.jpg")}
    fetched = [FetchedImage(slots[name], content, None) for name, content in contents.items()]
    fetched.append(FetchedImage(slots["e.jpg"], None, missing))

    def check(found: list[DecodedImage]) -> None:
        rows = {image.slot.image.uri: image for image in found}
        good = rows.pop("a.png")
        assert good.pixels is not None
        np.testing.assert_array_equal(good.pixels, decode(contents["a.png"]).pixels)
        assert (good.width, good.height, good.format, good.failure) == (WIDTH, HEIGHT, "PNG", None)
        assert {
            uri: (row.format, row.failure and row.failure.error) for uri, row in rows.items()
        } == {
            "b.heic": ("HEIF", "unsupported_format"),
            "c.jpg": (None, "not_an_image"),
            "d.jpg": ("JPEG", "truncated"),
            "e.jpg": (None, "not_found"),
        }
        assert all((row.pixels, row.width, row.height) == (None,) * 3 for row in rows.values())
        assert {row.failure.stage for row in rows.values() if row.failure} == {"decode", "read"}

    with p:
        found = (
            p
            | Create([Chunk(fetched)])
            | DecodeImages(Preprocessing(SIDE, "crop", LIMIT))
            | FlatMap(list)
        )
        assert_that(found, check)
