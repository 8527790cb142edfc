"""Shows how far a local run is: a live line on a terminal, a plain one every ten seconds else."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from transforms.failures import RETRYABLE
from transforms.tally import local_counts

_PLAIN_INTERVAL_S = 10.0
_LIVE_INTERVAL_S = 0.25


class Progress:
    """One line of numbers, read from the counts of this process."""

    def __init__(self) -> None:
        """Starts the clock."""
        self._started = time.monotonic()
        self._before = local_counts()

    def line(self) -> str:
        """How many are done, the speed so far and the time left at that speed."""
        counts = {k: n - self._before.get(k, 0) for k, n in local_counts().items()}
        listed, predicted = counts.get("listed", 0), counts.get("predicted", 0)
        failed = sum(counts.get(reason, 0) for reason in RETRYABLE)
        done = predicted + failed
        seconds = time.monotonic() - self._started
        if not done:
            return f"listing and loading, {seconds:.0f} s"
        rate = done / seconds
        left = f", {(listed - done) / rate:,.0f} s left" if listed > done else ""
        return f"{done:,} of {listed:,} images, {failed:,} failed, {rate:,.0f} images/s{left}"


@contextmanager
def shown_progress() -> Iterator[None]:
    """Shows progress on standard error while the block runs."""
    progress, stop = Progress(), threading.Event()
    console = Console(stderr=True, highlight=False)
    show = _show_live if console.is_terminal and not console.is_dumb_terminal else _show_plain
    thread = threading.Thread(target=show, args=(progress, stop, console), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _show_live(progress: Progress, stop: threading.Event, console: Console) -> None:
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while not stop.wait(_LIVE_INTERVAL_S):
            live.update(Text(progress.line()), refresh=True)


def _show_plain(progress: Progress, stop: threading.Event, console: Console) -> None:
    while not stop.wait(_PLAIN_INTERVAL_S):
        print(progress.line(), file=sys.stderr, flush=True)
