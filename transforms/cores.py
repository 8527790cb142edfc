"""How many CPU cores this process may use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def available_cores(process: Path = Path("/proc/self")) -> int:
    """Cores that the system lets this process run on and grants it time for, rounded up.

    There may be more in the machine: a container with a quota of two sees all 64.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, _quotas(process))]))


def _quotas(process: Path) -> Iterator[float]:
    """Cores' time that the process' own control groups and those around them grant, if limited."""
    try:
        groups = (process / "cgroup").read_text().splitlines()
        mounts = (process / "mountinfo").read_text().splitlines()
    except OSError:  # no control groups
        return
    of_controller = dict(group.split(":", 2)[1:] for group in groups)
    paths = {name: path for names, path in of_controller.items() for name in names.split(",")}
    for mount in mounts:
        fields, _, of_system = mount.partition(" - ")
        root, point = fields.split(" ")[3:5]
        kind, _, options = of_system.split(" ")[:3]
        controller = "" if kind == "cgroup2" else "cpu"  # of version 2 there is but one hierarchy
        is_for_cores = kind == "cgroup2" or (kind == "cgroup" and "cpu" in options.split(","))
        if is_for_cores and controller in paths:
            for folder in _folders(Path(point), root, paths[controller]):
                yield from _quota(folder)


def _folders(point: Path, root: str, path: str) -> list[Path]:
    """The group at `path` and those around it, as far as `root`, which is mounted at `point`."""
    group = PurePosixPath(path)
    below = group.relative_to(root) if group.is_relative_to(root) else PurePosixPath()
    return [point / each for each in (below, *below.parents)]


def _quota(folder: Path) -> Iterator[float]:
    """Time a period, both in microseconds, by either version's files."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        if quota != "max" and int(quota) > 0:  # version 1 says -1 for no limit
            yield int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # the root group has none
        return
