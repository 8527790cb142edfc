"""How many CPU cores this process may use."""

import os


def available_cores() -> int:
    """Cores the operating system lets this process run on, which may be fewer than there are."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
