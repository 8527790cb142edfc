"""The line that says how far a run is."""

import pytest

from pipeline import progress
from transforms import tally


def test_the_line_counts_from_where_the_run_began(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 104.0, 110.0])
    monkeypatch.setattr("pipeline.progress.time.monotonic", lambda: next(clock))
    tally.count("predicted", 7)  # an earlier run of this process
    shown = progress.Progress()
    assert shown.line() == "listing and loading, 4 s"
    tally.count("listed", 40)
    tally.count("predicted", 18)
    tally.count("truncated", 2)
    assert shown.line() == "20 of 40 images, 2 failed, 2 images/s, 10 s left"
