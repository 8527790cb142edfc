"""Counts of what happened to the images: Beam metrics, and a view of them from outside a bundle.

The in-process runner shows its metrics only when it has ended; the progress line of a local run
reads the same counts from this process instead.
"""

import threading
from collections import Counter

from apache_beam.metrics.metric import Metrics

NAMESPACE = "images"

_lock = threading.Lock()
_local: Counter[str] = Counter()


def count(name: str, images: int = 1) -> None:
    """Adds to the metric `images/<name>`."""
    Metrics.counter(NAMESPACE, name).inc(images)
    with _lock:
        _local[name] += images


def local_counts() -> dict[str, int]:
    """What `count` saw in this process."""
    with _lock:
        return dict(_local)
