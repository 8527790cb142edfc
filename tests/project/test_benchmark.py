"""The arithmetic of the benchmark; its figures are nothing a test could know."""

from pathlib import Path

import pytest

from tests.benchmark.__main__ import Timing, copies_of_photographs, summarise
from tests.helpers.model_fixtures import PHOTOS


def timing(job: float, steady: float | None = None) -> Timing:
    return Timing(job, job / 2, steady, None if steady is None else 2.0, 100.0)


def test_ratios_are_medians_within_a_round() -> None:
    timings = {
        "float32": [timing(90, 100), timing(40, 50), timing(80, 90)],
        "int8": [timing(180, 200), timing(80, 90), timing(160, 200)],
        "keras": [timing(30), timing(20), timing(20)],
        "stock": [timing(10), timing(10), timing(10)],
    }
    limits = {"float32": [100.0, 100.0, 100.0], "int8": [200.0, 100.0, 250.0]}
    rows = summarise(timings, limits, 1000)["contenders"]
    assert rows["float32"]["job"] == 80
    assert rows["float32"]["times_keras"] == 3  # 3, 2 and 4
    assert rows["float32"]["times_stock"] == 8
    assert rows["int8"]["share_of_limit"] == pytest.approx(0.9)
    assert rows["keras"]["times_stock"] == 2
    assert "limit" not in rows["keras"]


def test_images_are_made_from_the_photographs_there_are(tmp_path: Path) -> None:
    folder = copies_of_photographs(PHOTOS, tmp_path / "images", 20)
    sizes = [path.stat().st_size for path in sorted(folder.iterdir())]
    assert len(sizes) == 20
    assert len(set(sizes)) == sum(path.suffix == ".jpg" for path in PHOTOS.iterdir())
