import numpy as np
import pytest
from PIL import Image

from tests.helpers.image_files import saved, segment, with_segments
from tests.helpers.odd_images import picture
from tests.helpers.short_files import jpeg_hole
from transforms.decoding.jpeg_gaps import noise_behind, noise_in_hole

LARGER = picture().resize((640, 480))


def test_noise_goes_between_the_last_scan_and_the_end() -> None:
    content = saved(picture(), "JPEG")
    found = noise_behind(content + b"more")
    assert found.startswith(content[:-2])
    assert found.endswith(b"\xff\xd9more")
    assert len(found) > len(content) + 1000


def test_noise_behind_has_no_marker_but_those_that_restart() -> None:
    noise = noise_behind(saved(picture(), "JPEG"))[len(saved(picture(), "JPEG")) - 2 : -2]
    markers = {noise[at + 1] for at in range(len(noise) - 1) if noise[at] == 0xFF}
    assert markers == set(range(0xD0, 0xD8))


def test_noise_takes_the_place_of_zeros_and_of_nothing_else() -> None:
    content = saved(LARGER, "JPEG")
    broken = jpeg_hole(content, 40, 700)
    found = noise_in_hole(broken)
    assert found is not None
    changed = [at for at in range(len(broken)) if found[at] != broken[at]]
    assert len(found) == len(broken)
    assert {broken[at] for at in changed} == {0}
    assert changed[-1] - changed[0] > 650
    assert noise_in_hole(found) is None


@pytest.mark.parametrize(
    "content",
    [
        saved(LARGER, "JPEG"),
        saved(Image.fromarray(np.full((900, 900, 3), 200, np.uint8)), "JPEG", optimize=True),
        jpeg_hole(saved(LARGER, "JPEG", progressive=True), 40, 700),
        jpeg_hole(saved(LARGER, "JPEG", optimize=True, quality=10), 40, 700),
        jpeg_hole(saved(LARGER, "JPEG"), 40, 60),
        saved(LARGER, "JPEG") + bytes(700),
        with_segments(saved(LARGER, "JPEG"), segment(0xE5, bytes(700))),
        jpeg_hole(saved(LARGER, "JPEG"), 40, 700).replace(b"\xff\xc4", b"\xff\xef"),
        b"\xff\xd8" + bytes(700),
    ],
    ids=[
        "none",
        "plain colour",
        "progressive",
        "zeros end a block",
        "too short",
        "behind the end",
        "before the scan",
        "no tables",
        "no scan",
    ],
)
def test_zeros_that_an_encoder_may_have_written_are_left(content: bytes) -> None:
    assert noise_in_hole(content) is None
