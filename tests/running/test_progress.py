"""The line that says how far a run is."""

import os
import sys

import pytest

from pipeline.running import progress
from pipeline.running.progress import Standing, shown_progress
from tests.helpers.waiting import wait_until
from transforms import metrics as tally


def test_standing_counts_from_where_the_run_began(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 104.0, 110.0, 120.0])
    monkeypatch.setattr("pipeline.running.progress.time.monotonic", lambda: next(clock))
    tally.count("predicted", 7)  # an earlier run of this process
    shown = progress.Progress()
    assert shown.standing() == Standing(due=0, done=0, failed=0, seconds=4.0, rate=0.0)
    tally.count("listed", 50)
    tally.count("skipped", 10)
    tally.count("predicted", 5)
    assert shown.standing() == Standing(40, 5, 0, 10.0, rate=0.0)
    tally.count("predicted", 13)
    tally.count("truncated", 2)
    assert shown.standing() == Standing(40, 20, 2, 20.0, rate=1.5)


@pytest.mark.parametrize(
    ("standing", "line"),
    [
        (Standing(0, 0, 0, 4.0, 0.0), "listing and loading, 4 s"),
        (Standing(40, 5, 0, 10.0, 0.0), "5 of 40 images, 0 failed"),
        (Standing(40, 20, 2, 20.0, 2.0), "20 of 40 images, 2 failed, 2 images/s, 10 s left"),
        (
            Standing(10**6, 10**5, 0, 9.0, 250.0),
            "100,000 of 1,000,000 images, 0 failed, 250 images/s, 60 min left",
        ),
        (
            Standing(10**7, 10**5, 0, 9.0, 250.0),
            "100,000 of 10,000,000 images, 0 failed, 250 images/s, 11.0 h left",
        ),
        (Standing(40, 40, 0, 20.0, 2.0), "40 of 40 images, 0 failed, 2 images/s"),
    ],
)
def test_the_line_tells_done_failed_speed_and_time_left(standing: Standing, line: str) -> None:
    assert str(standing) == line


def test_elsewhere_than_on_a_terminal_it_is_plain_lines_on_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL_S", 0.01)
    said = ["", ""]

    def has_said_two_lines() -> bool:
        for stream, text in enumerate(capsys.readouterr()):
            said[stream] += text
        return (said[0] + said[1]).count("\n") >= 2

    with shown_progress():
        wait_until(has_said_two_lines)
    assert said[0] == ""
    assert said[1].startswith("listing and loading, 0 s\nlisting and loading, ")


def test_on_a_terminal_it_is_a_bar_on_standard_error_that_is_gone_in_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = os.openpty()
    shown = b""

    def has_shown_the_bar() -> bool:
        nonlocal shown
        shown += os.read(ours, 10_000)
        return b"listing and loading" in shown

    with open(theirs, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        with shown_progress():
            wait_until(has_shown_the_bar)
    erase_line = b"\x1b[2K"
    assert erase_line in os.read(ours, 10_000)
    os.close(ours)
    assert capsys.readouterr() == ("", "")
