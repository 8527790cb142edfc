"""What happened to the images, counted: Beam metrics, and a view of them from outside a bundle.

The in-process runner shows its metrics only when it has ended; the progress line of a local run
reads the same counts from this process instead. Beam ties a metric to the thread of a bundle:
`count` and `observe` are called there, never on a thread of a pool.
"""

import threading
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Final

from apache_beam.metrics.metric import Metrics
from apache_beam.metrics.metricbase import Distribution

NAMESPACE: Final = "images"

# The names of the metrics; every reason of `failures.RETRYABLE` is a counter as well.
LISTED, SKIPPED, PREDICTED = "listed", "skipped", "predicted"
BYTES_READ, MODEL_LOADS = "bytes_read", "model_loads"
READ_US, DECODE_US, INFERENCE_US, BATCH_SIZE = "read_us", "decode_us", "inference_us", "batch_size"

# What each of them says, for docs/output.md.
MEANINGS: Final = {
    LISTED: "distinct images named by the inputs",
    SKIPPED: "those of them whose rows of an earlier run are current",
    PREDICTED: "images with a prediction",
    BYTES_READ: "bytes of the images that were read",
    MODEL_LOADS: "times a model was loaded: one a worker process, or one a GPU",
    READ_US: "microseconds to read one image, waiting for the storage included",
    DECODE_US: "microseconds to decode one image",
    INFERENCE_US: "microseconds for one batch in the engine, waiting for its turn included",
    BATCH_SIZE: "images in one batch",
}

_lock = threading.Lock()
_local: Counter[str] = Counter()


def count(name: str, images: int = 1) -> None:
    """Adds to the metric `images/<name>`."""
    Metrics.counter(NAMESPACE, name).inc(images)
    with _lock:
        _local[name] += images


def observe(name: str, values: Iterable[int]) -> None:
    """Adds values to the distribution `images/<name>`."""
    distribution = _distribution(name)
    for value in values:
        distribution.update(value)


@cache
def _distribution(name: str) -> Distribution:
    return Metrics.distribution(NAMESPACE, name)


def local_counts() -> dict[str, int]:
    """What `count` saw in this process."""
    with _lock:
        return dict(_local)
