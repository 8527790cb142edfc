"""A call to a storage is tried again while what is wrong may pass: one fault, or an outage."""

import random
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

# So many calls that fail at one time are an outage of the storage, not a fault of one object.
_MANY: Final = 4
# A shorter outage is not worth a line of progress.
_SAID_AFTER_S: Final = 5.0

ResultT = TypeVar("ResultT")


class Retries:
    """Calls of all threads of a process to one storage.

    A call that fails alone is given up after its own time. While many fail the storage is out:
    all of them wait for it, up to `outage_s` from the first failure that no success followed.
    """

    def __init__(
        self, outage_s: float = 600.0, delays_s: tuple[float, float] = (0.25, 8.0)
    ) -> None:
        """`delays_s` are the first and the longest pause between two tries of a call."""
        self.outage_s = outage_s
        self._delays_s = delays_s
        self._lock = threading.Lock()
        self._failing = 0  # calls that have failed and are tried again
        self._since: float | None = None  # the first failure after the latest success
        self._why = ""
        self._stopped = threading.Event()
        self.has_succeeded = False

    def call(
        self,
        function: Callable[[], ResultT],
        seconds: float,
        may_pass: Callable[[Exception], bool],
    ) -> ResultT:
        """Calls `function` until it returns, at most for `seconds` unless the storage is out.

        Raises:
            Exception: what `function` raised last, or what it raised that may not pass.
        """
        started, (delay, longest) = time.monotonic(), self._delays_s
        is_failing = False
        try:
            while True:
                try:
                    result = function()
                except Exception as error:
                    if not may_pass(error):
                        raise
                    self._fails(error, is_first=not is_failing)
                    is_failing = True
                    pause = random.uniform(delay / 2, delay)
                    if not self._goes_on(started, seconds) or self._stopped.wait(pause):
                        raise
                    delay = min(2 * delay, longest)
                else:
                    self._succeeds()
                    return result
        finally:
            if is_failing:
                with self._lock:
                    self._failing -= 1

    def stop(self) -> None:
        """From now on nothing is tried again: a process that is told to stop could not end."""
        self._stopped.set()

    def seconds_failing(self) -> float:
        """Time since the first failure that no success followed; 0 if the latest call succeeded."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def outage(self) -> str:
        """What a person who waits should know; empty while calls succeed."""
        seconds = self.seconds_failing()
        if not self._failing or seconds < _SAID_AFTER_S:
            return ""
        return (
            f"the storage has failed for {seconds:.0f} s ({self._why}): "
            f"waiting, at most {self.outage_s / 60:.0f} min"
        )

    def _fails(self, error: Exception, is_first: bool) -> None:
        with self._lock:
            self._failing += is_first
            self._why = type(error).__name__
            if self._since is None:
                self._since = time.monotonic()

    def _succeeds(self) -> None:
        self.has_succeeded = True
        self._since = None

    def _goes_on(self, started: float, seconds: float) -> bool:
        """Whether a call that began at `started` is tried again."""
        now = time.monotonic()
        if now < started + seconds:
            return True
        since = started if self._since is None else min(started, self._since)
        return self._failing >= _MANY and now < since + self.outage_s


# Those of this process: `outage` says what the progress line shows.
shared = Retries()
