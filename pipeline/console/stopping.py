"""Ctrl-C and SIGTERM, which Kubernetes, systemd and preempted machines send, stop a command alike.

The first signal raises `Stopped` in the main thread, which cleans up and says how to go on. A
second one ends the process at once, and so does the end of `GRACE_S`.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NamedTuple

GRACE_S: Final = 20.0  # Kubernetes kills a container 30 s after SIGTERM
# `timeout` and some supervisors send a signal to a process and to its group: it arrives twice.
_SAME_S: Final = 0.5
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end."""

    def __init__(self, number: int) -> None:
        """`number` is that of the signal."""
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class _First(NamedTuple):
    """What the first signal raised, and when by `time.monotonic`."""

    stopped: Stopped
    at: float


_first: _First | None = None
_actions: list[Callable[[], object]] = []


@contextmanager
def stoppable() -> Iterator[None]:
    """A signal to stop raises `Stopped` in the block, if it is the main thread's.

    Whoever was told to stop stops: after the block a signal still ends the process at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # `nohup` and shells without job control ask for that
            signal.signal(number, _on_signal)
    try:
        yield
    finally:
        _actions.clear()
        if not is_stopping():
            for number, handler in before.items():
                signal.signal(number, handler)


def is_stopping() -> bool:
    """Whether a signal has asked this process to end."""
    return _first is not None


def stop_this_process() -> None:
    """From any thread: as a signal to stop that comes from elsewhere."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def on_stop(action: Callable[[], object]) -> None:
    """A signal to stop this process does this first: what it waits for may have to end."""
    _actions.append(action)


def interrupt_of(error: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C or other signal at the bottom of an exception; Beam wraps it as it wraps any."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


def exit_code_of(interrupt: BaseException) -> int:
    """128 and the number of the signal: 130 for Ctrl-C, 143 for SIGTERM."""
    found = interrupt_of(interrupt)
    return found.exit_code if isinstance(found, Stopped) else 128 + signal.SIGINT


def _on_signal(number: int, frame: FrameType | None) -> None:
    global _first
    if _first is None:
        _first = _First(Stopped(number), time.monotonic())
        for action in _actions:
            action()
        patience = threading.Timer(GRACE_S, _end, [_first.stopped.exit_code])
        patience.daemon = True
        patience.start()
        raise _first.stopped
    if time.monotonic() - _first.at > _SAME_S:
        _end(_first.stopped.exit_code)


def _end(exit_code: int) -> None:
    os.write(2, b"ended at once; finished shards are kept\n")
    os._exit(exit_code)
