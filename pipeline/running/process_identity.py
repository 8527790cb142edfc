"""Which process wrote something, told apart from later ones that have the same number."""

import os
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """A process of some machine.

    `place` is the boot of a system and the namespace of process numbers in it, `start` the time of
    the process in ticks since that boot; both are None where the system does not tell them.
    """

    pid: int
    place: str | None
    start: str | None


def this_process() -> Process:
    """The one that asks."""
    return Process(os.getpid(), _place(), _start(os.getpid()))


def is_running(process: Process) -> bool | None:
    """Whether a process still runs; None if it may be on another machine, or cannot be seen."""
    if None in process or process.place != _place():
        return None
    try:
        os.kill(process.pid, 0)
        return _start(process.pid) == process.start
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, or that of somebody else with the same number
        start = _start(process.pid)
        return None if start is None else start == process.start


def _place() -> str | None:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return None


def _start(pid: int) -> str | None:
    """None if there is no such process, or none that is more than a name to be collected."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *others = stat.rpartition(")")[2].split()
    return None if state in "ZX" else others[18]
