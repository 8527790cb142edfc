import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.report.thumbnail import Recorded, Thumbnail, make_thumbnail
from tests.helpers.model_fixtures import PHOTOS
from tests.helpers.odd_images import odd_images, write_odd_images
from transforms.decode_images import Preprocessing, decode_image

CROP = Preprocessing(image_size=64, resize="crop", max_pixels=1_000_000)
MAX_BYTES = 1_000_000


def thumbnail(path: Path, size: int | None = None, modified: int | None = None) -> Thumbnail:
    return make_thumbnail(Recorded(str(path), size, modified), CROP, MAX_BYTES)


def test_a_thumbnail_shows_what_the_network_saw() -> None:
    path = PHOTOS / "cat.jpg"
    made = thumbnail(path)
    assert made.jpeg is not None
    assert made[1:] == (None, False)
    pixels = np.asarray(Image.open(io.BytesIO(made.jpeg)), np.int16)
    seen = decode_image(path.read_bytes(), CROP).pixels
    assert pixels.shape == (64, 64, 3)
    assert np.abs(pixels - seen).mean() < 6  # 0..255, after JPEG


def test_a_file_that_has_changed_is_marked(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes((PHOTOS / "cat.jpg").read_bytes())
    size, modified = path.stat().st_size, path.stat().st_mtime_ns // 1000
    assert not thumbnail(path, size, modified).is_changed
    assert not thumbnail(path, None, None).is_changed
    assert thumbnail(path, size + 1, modified).is_changed
    os.utime(path, ns=(0, 1_000_000_000))
    assert thumbnail(path, size, modified).is_changed


def test_a_file_that_is_gone_says_so(tmp_path: Path) -> None:
    made = thumbnail(tmp_path / "gone.jpg", 10, 10)
    assert made.jpeg is None
    assert made.problem == f"not_found: {tmp_path}/gone.jpg: No such file or directory"


def test_a_file_above_the_limits_of_the_run_has_no_thumbnail() -> None:
    image = Recorded(str(PHOTOS / "cat.jpg"), None, None)
    few_bytes = make_thumbnail(image, CROP, 100)
    few_pixels = make_thumbnail(image, CROP._replace(max_pixels=100), MAX_BYTES)
    assert (few_bytes.problem or "").startswith("too_many_bytes: ")
    assert (few_pixels.problem or "").startswith("too_many_pixels: ")


@pytest.mark.timeout(40)
def test_a_pipe_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert (thumbnail(tmp_path / "pipe.jpg").problem or "").startswith("not_a_file: ")


def test_no_odd_image_is_more_than_a_problem(tmp_path: Path) -> None:
    write_odd_images(tmp_path)
    for name, (_, error) in odd_images().items():
        made = thumbnail(tmp_path / name)
        if error is None:
            assert made.jpeg is not None, name
        else:
            assert (made.problem or "").split(":")[0] == error, name
