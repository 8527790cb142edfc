"""Tests wait until something is so, never for some time."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Returns as soon as `condition()` holds.

    Raises:
        AssertionError: it does not within `seconds`.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited for {seconds:g} s"
        time.sleep(0.001)
