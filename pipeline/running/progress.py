"""Shows how far a local run is: a bar on a terminal, a plain line every ten seconds elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from transforms.failures import RETRYABLE
from transforms.metrics import LISTED, PREDICTED, SKIPPED, local_counts
from transforms.storage import retries

PLAIN_INTERVAL_S = 10.0
_BAR_INTERVAL_S = 0.25


class Standing(NamedTuple):
    """How far a run is at one moment."""

    due: int  # images listed that have no current row
    done: int
    failed: int
    seconds: float  # since the run began
    rate: float  # images/s since the first one was done; 0.0 before
    outage: str = ""  # what the storage fails with, if it does

    def __str__(self) -> str:
        """How many are done, the speed and the time left at that speed; and any outage."""
        text = self._standing()
        return f"{text}; {self.outage}" if self.outage else text

    def _standing(self) -> str:
        if not self.done:
            return f"listing and loading, {self.seconds:.0f} s"
        text = f"{self.done:,} of {self.due:,} images, {self.failed:,} failed"
        if self.rate:
            text += f", {self.rate:,.0f} images/s"
            if self.due > self.done:
                text += f", {_duration((self.due - self.done) / self.rate)} left"
        return text


class Progress:
    """What has been done since this was made, and how fast."""

    def __init__(self, counts: Callable[[], Mapping[str, int]] = local_counts) -> None:
        """`counts` gives the metrics at any moment, by default those of this process."""
        self._started = time.monotonic()
        self._counts = counts
        self._before = counts()
        self._first: tuple[float, int] | None = None  # when images were first done, and how many

    def standing(self) -> Standing:
        """At this moment."""
        counts = {k: n - self._before.get(k, 0) for k, n in self._counts().items()}
        failed = sum(counts.get(reason, 0) for reason in RETRYABLE)
        done = counts.get(PREDICTED, 0) + failed
        now = time.monotonic()
        if done and self._first is None:
            self._first = now, done
        rate = 0.0
        if self._first is not None and now > self._first[0]:
            rate = (done - self._first[1]) / (now - self._first[0])
        due = counts.get(LISTED, 0) - counts.get(SKIPPED, 0)
        return Standing(due, done, failed, now - self._started, rate, retries.shared.outage())


@contextmanager
def shown_progress() -> Iterator[None]:
    """Shows progress on standard error while the block runs."""
    progress, stop = Progress(), threading.Event()
    console = Console(stderr=True, highlight=False)
    show = _show_bar if console.is_terminal and not console.is_dumb_terminal else _show_plain
    thread = threading.Thread(target=show, args=(progress, stop, console), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _show_bar(progress: Progress, stop: threading.Event, console: Console) -> None:
    columns = BarColumn(bar_width=30), TextColumn("{task.description}")
    with Bar(*columns, console=console, auto_refresh=False, transient=True) as bar:
        task = bar.add_task("", total=None)
        while not stop.wait(_BAR_INTERVAL_S):
            now = progress.standing()
            total = now.due if now.done else None  # before, the bar moves without a length
            bar.update(task, total=total, completed=now.done, description=str(now))
            bar.refresh()


def _show_plain(progress: Progress, stop: threading.Event, console: Console) -> None:
    while not stop.wait(PLAIN_INTERVAL_S):
        print(progress.standing(), file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    """Such as 40 s, 5 min or 2.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
