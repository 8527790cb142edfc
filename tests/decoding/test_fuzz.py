"""Damaged files of all formats: a picture or a reason comes out, soon, and nothing else."""

import contextlib
import functools
import random
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.image_files import saved
from tests.helpers.model_fixtures import PHOTOS
from tests.helpers.odd_images import odd_images, picture, plain_files
from tests.helpers.short_files import jpeg_cut, jpeg_hole, png_cut, tiff_cut
from transforms.choices import Resize
from transforms.decode_images import Preprocessing, decode_image
from transforms.failures import ImageError

SIDE = 32
SECONDS = 2.0
REASONS = {"not_an_image", "unsupported_format", "truncated", "corrupt", "too_many_pixels"}
RESIZES: tuple[Resize, ...] = ("crop", "squash", "keras")


class Outcome(NamedTuple):
    """What became of one mutant; `error` is None for a picture, `memory` bytes at its worst."""

    mutant: str
    error: str | None
    seconds: float
    memory: int


@functools.cache
def seeds() -> tuple[tuple[str, bytes], ...]:
    """Real files of all six formats in their variants, and photographs."""
    odd = {name: content for name, (content, error) in odd_images().items() if error is None}
    larger = picture().resize((400, 300))
    formats = {f"larger.{kind}": saved(larger, kind) for kind in ("GIF", "BMP", "WEBP", "TIFF")}
    photographs = {path.name: path.read_bytes() for path in sorted(PHOTOS.iterdir())[:4]}
    return tuple(sorted({**odd, **formats, **photographs, **plain_files()}.items()))


def flip_bits(content: bytearray, dice: random.Random) -> None:
    """A few anywhere, or in the header, where they do most."""
    end = len(content) if dice.random() < 0.5 else min(len(content), 700)
    for _ in range(dice.choice((1, 2, 8, 40))):
        content[dice.randrange(end)] ^= 1 << dice.randrange(8)


def overwrite(content: bytearray, dice: random.Random) -> None:
    """A run of one byte, or of noise."""
    at, length = dice.randrange(len(content)), dice.choice((1, 2, 4, 8, 64, 500))
    value = dice.choice((b"\0", b"\xff", b"\x7f", b"\x01", dice.randbytes(1)))
    content[at : at + length] = dice.choice((value * length, dice.randbytes(length)))


def move(content: bytearray, dice: random.Random) -> None:
    """A piece left out, doubled or put elsewhere."""
    start = dice.randrange(len(content))
    piece = content[start : start + dice.choice((1, 4, 30, 2000))]
    if dice.random() < 0.5:
        del content[start : start + len(piece)]
    at = dice.randrange(len(content) + 1)
    content[at:at] = piece


def splice(content: bytearray, dice: random.Random) -> None:
    """The header of this file on the body of another."""
    _, other = dice.choice(seeds())
    head = dice.choice((12, 30, 100, 600, len(content) // 2))
    content[head:] = other[min(head, len(other) - 1) :]


def shorten(content: bytearray, dice: random.Random) -> None:
    """What makes the pixels ends early, or has a hole, within a container that is whole."""
    percent, size = dice.randrange(100), dice.choice((100, 1000, 5000))
    with contextlib.suppress(ValueError, struct.error, zlib.error):  # it is no such container
        if content.startswith(b"\x89PNG"):
            content[:] = png_cut(bytes(content), percent)
        elif content.startswith(b"\xff\xd8"):
            cut = jpeg_cut(bytes(content), percent)
            content[:] = dice.choice((cut, jpeg_hole(bytes(content), percent, size)))
        elif content.startswith(b"II"):
            content[:] = tiff_cut(bytes(content), percent, dice.random() < 0.5)
        elif content.startswith(b"RIFF"):
            del content[12 + len(content) * percent // 110 :]
            content[4:8] = (len(content) - 8).to_bytes(4, "little")
        else:
            content[len(content) * percent // 100 : -1] = b""


def claim(content: bytearray, dice: random.Random) -> None:
    """Sides, counts and sizes in the header that are far from what the file has."""
    number = dice.choice((0, 1, 255, 65_535, 300_000, 2**20, 10**7, 2**31 - 1, 2**32 - 1))
    order: Literal["little", "big"] = "big" if bytes(content[:1]) in (b"\x89", b"M") else "little"
    places = {b"\x89P": (16, 20), b"BM": (10, 14, 18, 22, 34), b"GI": (6,), b"RI": (16, 24)}
    if content[:2] == b"II" and len(content) > 8:
        (at,) = struct.unpack_from("<I", content, 4)
        entry = at + 2 + 12 * dice.randrange(12)
        at = entry + dice.choice((4, 8))
    else:
        at = dice.choice(places.get(bytes(content[:2]), (160,)))
    for place in dice.choice(((at,), (at, at + 4))):
        content[place : place + 4] = number.to_bytes(4, order)


BYTES: Final = (flip_bits, flip_bits, overwrite, move, splice)
STRUCTURES: Final = (shorten, shorten, claim)


def mutants(
    count: int, mutations: tuple[Callable[[bytearray, random.Random], None], ...] = BYTES
) -> Iterator[tuple[str, bytes]]:
    """Always the same ones, by a name that tells how to get each again."""
    for number in range(count):
        dice = random.Random(number)
        name, content = dice.choice(seeds())
        mutant = bytearray(content)
        mutation = dice.choice(mutations)
        mutation(mutant, dice)
        yield f"{number}: {mutation.__name__} of {name}", bytes(mutant)


def cuts() -> Iterator[tuple[str, bytes]]:
    """The plain files cut at every percent."""
    for name, content in plain_files().items():
        for percent in range(100):
            yield f"{percent} % of {name}", content[: len(content) * percent // 100]


def peak_memory(forget: bool = False) -> int:
    """The most bytes this process had in memory, or since it was told to forget; 0 if unknown."""
    try:
        if forget:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def outcome(mutant: str, content: bytes, resize: Resize, max_pixels: int) -> Outcome:
    before = peak_memory(forget=True)
    start = time.perf_counter()
    error = None
    try:
        found = decode_image(content, Preprocessing(SIDE, resize, max_pixels))
    except ImageError as problem:
        error = problem.error
        message = problem.at("decode").message
        assert error in REASONS, mutant
        assert message, mutant
        assert message.isprintable(), mutant
    else:
        assert found.pixels.shape == (SIDE, SIDE, 3), mutant
        assert found.pixels.dtype == np.uint8, mutant
        assert 0 < found.width * found.height <= max_pixels, mutant
    seconds = time.perf_counter() - start
    return Outcome(mutant, error, seconds, peak_memory() - before)


def outcomes(files: Iterator[tuple[str, bytes]], max_pixels: int) -> list[Outcome]:
    return [
        outcome(mutant, content, RESIZES[number % 3], max_pixels)
        for number, (mutant, content) in enumerate(files)
    ]


def test_a_thousand_mutants_become_pictures_or_reasons() -> None:
    found = outcomes(mutants(1000), 20_000_000)
    slowest = max(found, key=lambda one: one.seconds)
    assert slowest.seconds < SECONDS, slowest
    errors = Counter(one.error for one in found)
    assert errors[None] > 300
    assert all(errors[reason] > 0 for reason in ("truncated", "corrupt", "not_an_image"))


def test_mutants_of_structure_become_pictures_or_reasons_and_the_same_once_more() -> None:
    files = list(mutants(400, STRUCTURES))
    found = outcomes(iter(files), 20_000_000)
    slowest = max(found, key=lambda one: one.seconds)
    assert slowest.seconds < SECONDS, slowest
    largest = max(found, key=lambda one: one.memory)
    assert largest.memory < 200_000_000, largest
    errors = Counter(one.error for one in found)
    assert errors["truncated"] > 100
    assert all(errors[reason] > 0 for reason in (None, "corrupt", "too_many_pixels"))
    again = outcomes(iter(files), 20_000_000)
    assert [one.error for one in again] == [one.error for one in found]


def test_files_cut_at_every_percent_become_reasons() -> None:
    found = outcomes(cuts(), 20_000_000)
    assert {one.error for one in found} <= {"truncated", "not_an_image", None}
    # Nothing is a format yet, or a file that lacks no pixel.
    assert sum(one.error != "truncated" for one in found) < 25


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A real file with bytes overwritten, put in and left out."""
    _, content = draw(st.sampled_from(seeds()))
    mutant = bytearray(content)
    header = st.integers(0, min(len(content), 200))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(header | st.integers(0, len(content)))
        length = draw(st.sampled_from((0, 1, 2, 4, 300)))
        mutant[at : at + length] = draw(st.binary(max_size=8))
    return bytes(mutant)


@given(content=damaged_files(), resize=st.sampled_from(RESIZES))
@settings(max_examples=300)
def test_whatever_is_damaged_becomes_a_picture_or_a_reason(content: bytes, resize: Resize) -> None:
    assert outcome("a damaged file", content, resize, 20_000_000).seconds < SECONDS


@given(
    start=st.sampled_from(sorted({content[:40] for _, content in seeds()})),
    kept=st.integers(0, 40),
    rest=st.binary(max_size=400),
    resize=st.sampled_from(RESIZES),
)
def test_noise_after_a_signature_becomes_a_picture_or_a_reason(
    start: bytes, kept: int, rest: bytes, resize: Resize
) -> None:
    assert outcome("noise", start[:kept] + rest, resize, 20_000_000).seconds < SECONDS


@pytest.mark.slow
def test_twenty_thousand_mutants_become_pictures_or_reasons() -> None:
    found = outcomes(mutants(20_000, (*BYTES, *STRUCTURES)), 50_000_000)
    slowest = max(found, key=lambda one: one.seconds)
    largest = max(found, key=lambda one: one.memory)
    errors = Counter(one.error or "a picture" for one in found)
    print(f"\n{len(found):,} mutants: {dict(errors)}\nslowest {slowest}\nlargest {largest}")
    assert slowest.seconds < SECONDS
    assert largest.memory < 200_000_000
