"""Colours of other spaces against their formulas, and profiles that are none."""

import io
import random
from collections.abc import Callable

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.icc_profiles import (
    ADOBE_RGB,
    D50,
    D65,
    DISPLAY_P3,
    PROPHOTO,
    SRGB,
    Primaries,
    grey_profile,
    rgb_profile,
    to_xyz,
)
from tests.helpers.image_files import chunk, saved, segment, with_chunks, with_segments
from tests.helpers.odd_images import picture
from transforms.choices import Resize
from transforms.decode_images import Preprocessing, decode_image
from transforms.decoding.files.stripped import MOST_PROFILE_BYTES
from transforms.decoding.pixels.colour_profile import to_srgb

SIDE = 24
SPACES: dict[str, tuple[Primaries, tuple[float, float], float]] = {
    "Display P3": (DISPLAY_P3, D65, 0),
    "Adobe RGB": (ADOBE_RGB, D65, 2.2),
    "ProPhoto": (PROPHOTO, D50, 1.8),
    "linear": (SRGB, D65, 1.0),
}
P3 = rgb_profile(*SPACES["Display P3"])


def pixels() -> NDArray[np.uint8]:
    """[24, 24, 3], colours of every kind."""
    return np.random.default_rng(5).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def in_srgb(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """By IEC 61966-2-1, 0..255."""
    light = linear.clip(0, 1)
    return 255 * np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)


def converted(space: str, values: NDArray[np.uint8]) -> NDArray[np.float64]:
    primaries, white, gamma = SPACES[space]
    shares = values / 255
    light = (
        shares**gamma
        if gamma
        else np.where(shares > 0.04045, ((shares + 0.055) / 1.055) ** 2.4, shares / 12.92)
    )
    matrix = np.linalg.solve(to_xyz(SRGB, D65), to_xyz(primaries, white))
    return in_srgb(light @ matrix.T)


def decoded(content: bytes, resize: Resize = "crop") -> NDArray[np.int64]:
    found = decode_image(content, Preprocessing(SIDE, resize, 10**6)).pixels
    return found.astype(np.int64)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(
    ("format", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})]
)
def test_colours_of_a_profile_become_those_of_srgb(
    space: str, format: str, options: dict[str, bool]
) -> None:
    profile = rgb_profile(*SPACES[space])
    content = saved(Image.fromarray(pixels()), format, icc_profile=profile, **options)
    expected = converted(space, pixels())
    assert np.abs(expected - pixels()).mean() > 5
    np.testing.assert_allclose(decoded(content), expected, atol=3)


def test_the_profile_of_a_jpeg_counts() -> None:
    plain, profiled = (
        decoded(saved(picture(), "JPEG", **options)) for options in ({}, {"icc_profile": P3})
    )
    expected = converted("Display P3", plain.astype(np.uint8))
    assert np.abs(expected - plain).mean() > 2
    np.testing.assert_allclose(profiled, expected, atol=3)


def test_grey_is_converted_by_the_curve_of_its_profile() -> None:
    ramp = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (SIDE, 1))
    expected = in_srgb(ramp / 255)[..., np.newaxis].repeat(3, axis=2)
    for format in ("PNG", "TIFF"):
        content = saved(Image.fromarray(ramp), format, icc_profile=grey_profile(1.0))
        np.testing.assert_allclose(decoded(content), expected, atol=1)
    deep = Image.fromarray(ramp.astype(np.uint16) * 257)
    np.testing.assert_allclose(
        decoded(saved(deep, "PNG", icc_profile=grey_profile(1.0))), expected, atol=1
    )


@pytest.mark.parametrize("gamma", [0, 2.2])
def test_what_is_nearly_srgb_stays_as_it_is(gamma: float) -> None:
    profile = rgb_profile(SRGB, D65, gamma)
    np.testing.assert_array_equal(
        decoded(saved(Image.fromarray(pixels()), "PNG", icc_profile=profile)), pixels()
    )
    grey = Image.fromarray(pixels()[..., 0])
    np.testing.assert_array_equal(
        decoded(saved(grey, "PNG", icc_profile=grey_profile(2.2)))[..., 0], pixels()[..., 0]
    )


def test_keras_knows_no_profile() -> None:
    content = saved(Image.fromarray(pixels()), "PNG", icc_profile=P3)
    expected = keras.utils.load_img(io.BytesIO(content), target_size=(SIDE, SIDE))
    np.testing.assert_array_equal(decoded(content, "keras"), np.asarray(expected))


@pytest.mark.parametrize(
    ("mode", "format", "profile"),
    [("CMYK", "TIFF", P3), ("LAB", "TIFF", P3), ("RGB", "PNG", grey_profile(1.0))],
)
def test_a_profile_for_other_pixels_is_left_out(mode: str, format: str, profile: bytes) -> None:
    values = pixels() if mode != "CMYK" else np.dstack((pixels(), pixels()[..., 0]))
    image = Image.frombytes(mode, (SIDE, SIDE), values.tobytes())
    np.testing.assert_array_equal(
        decoded(saved(image, format, icc_profile=profile)), decoded(saved(image, format))
    )


def jpeg(*parts: bytes) -> bytes:
    segments = (segment(0xE2, b"ICC_PROFILE\0" + part) for part in parts)
    return with_segments(saved(picture(), "JPEG"), *segments)


def test_a_profile_in_parts_is_put_together_in_their_order() -> None:
    whole = decoded(jpeg(b"\1\1" + P3))
    plain = decoded(jpeg())
    assert (whole != plain).any()
    first, second = b"\1\2" + P3[:200], b"\2\2" + P3[200:]
    np.testing.assert_array_equal(decoded(jpeg(first, second)), whole)
    np.testing.assert_array_equal(decoded(jpeg(second, first)), whole)
    for parts in ((first,), (second,), (first, second, b"\3\3"), (b"",), (b"\1",)):
        np.testing.assert_array_equal(decoded(jpeg(*parts)), plain)


def padded(size: int) -> bytes:
    """The profile with bytes behind it, which its header counts."""
    return size.to_bytes(4, "big") + P3[4:] + bytes(size - len(P3))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_profile_of_many_bytes_is_left_out(format: str) -> None:
    plain, allowed, larger = (
        decoded(saved(picture(), format, **options))
        for options in (
            {},
            {"icc_profile": padded(MOST_PROFILE_BYTES)},
            {"icc_profile": padded(MOST_PROFILE_BYTES + 100)},
        )
    )
    np.testing.assert_array_equal(larger, plain)
    assert (allowed != plain).any()


def from_to(black: bytes, white: bytes) -> bytes:
    """A profile whose curves go straight from one value to another."""
    straight = b"para" + bytes(8) + b"\0\1\0\0"
    curve = b"curv" + bytes(4) + b"\0\0\0\2" + black + white
    return rgb_profile(SRGB, D65, 1.0).replace(straight, curve)


BROKEN: dict[str, Callable[[], bytes]] = {
    "noise": lambda: random.Random(1).randbytes(600),
    "cut": lambda: P3[:300],
    "text": lambda: b"profile",
    "no tags": lambda: P3[:128] + bytes(4),
    "of inks": lambda: P3.replace(b"RGB ", b"CMYK"),
    "of no class": lambda: P3.replace(b"mntr", b"xxxx"),
    "dark white": lambda: from_to(b"\0\0", b"\x40\0"),
    "light black": lambda: from_to(b"\x40\0", b"\xff\xff"),
}


def test_a_curve_of_two_points_is_none_that_is_broken() -> None:
    straight = saved(picture(), "PNG", icc_profile=from_to(b"\0\0", b"\xff\xff"))
    assert (decoded(straight) != decoded(saved(picture(), "PNG"))).any()


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_broken_profile_costs_nothing(name: str, format: str) -> None:
    broken = saved(picture(), format, icc_profile=BROKEN[name]())
    np.testing.assert_array_equal(decoded(broken), decoded(saved(picture(), format)))


def test_a_png_with_a_broken_profile_chunk_is_shown() -> None:
    plain = saved(picture(), "PNG")
    for body in (b"", b"name", b"name\0", b"name\0\0", b"name\0\0noise"):
        np.testing.assert_array_equal(
            decoded(with_chunks(plain, chunk(b"iCCP", body))), decoded(plain)
        )


def test_mutants_of_profiles_give_a_picture() -> None:
    seeds = [rgb_profile(*space) for space in SPACES.values()] + [grey_profile(1.0)]
    small = picture().resize((SIDE, SIDE))
    changed = 0
    for number in range(400):
        dice = random.Random(number)
        mutant = bytearray(dice.choice(seeds))
        for _ in range(dice.choice((1, 1, 1, 2, 8))):
            mutant[dice.randrange(len(mutant))] ^= 1 << dice.randrange(8)
        if dice.random() < 0.3:
            at = dice.randrange(len(mutant) - 4)
            mutant[at : at + 4] = dice.choice((bytes(4), b"\xff" * 4))
        mode = dice.choice(("RGB", "L"))
        found = to_srgb(small, bytes(mutant), mode)
        assert (found.mode, found.size) == ("RGB", small.size)
        changed += found is not small
    assert 50 < changed < 350
