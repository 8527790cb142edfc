"""A map that works ahead on threads, order kept, a bounded number of elements under way."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from transforms.metrics import observe
from transforms.records import Chunk


def in_global_window(element: Any) -> WindowedValue:
    """What a bundle hands on at its end has no window of an element to inherit."""
    return WindowedValue(element, MIN_TIMESTAMP, (GlobalWindow(),))


InT = TypeVar("InT")
OutT = TypeVar("OutT")


def _weightless(_: object) -> int:
    return 0


def _nothing() -> None:
    pass


class PooledMap(beam.DoFn, Generic[InT, OutT]):
    """Applies a function to each item of the chunks, a chunk on one thread of a pool.

    An element of its own for each image, and a future, would take Python longer than decoding a
    small one. Reading, decoding and inference run outside Python's lock, so that the pool is at
    work while the rest of the fused stage hands on and writes what is done. Bounded collections
    only.
    """

    def __init__(
        self,
        function: Callable[[InT], OutT],
        threads: Callable[[], int],
        ahead: int = 1,
        weigh: Callable[[InT], int] = _weightless,
        most_weight: int = 1,
        metric: str | None = None,
        set_up: Callable[[], None] = _nothing,
    ) -> None:
        """Asks `threads()` on the worker; `ahead` chunks more than that may wait, done or not.

        Nor do all of them `weigh` more than `most_weight` together, unless a single one does. The
        microseconds that each call took go to the distribution `metric`. Before the first one
        `set_up` is called on the thread of a bundle; both may be methods of one object.
        """
        self._function = function
        self._metric = metric
        self._threads = threads
        self._ahead = ahead
        self._weigh = weigh
        self._most_weight = most_weight
        self._set_up = set_up

    def setup(self) -> None:
        """Starts the pool."""
        self._set_up()
        threads = self._threads()
        self._most = threads + self._ahead
        self._pool = ThreadPoolExecutor(threads)

    def start_bundle(self) -> None:
        """Nothing is under way."""
        self._under_way: deque[tuple[Future[tuple[Chunk, list[int]]], int]] = deque()
        self._weight = 0

    def process(self, element: Chunk) -> Iterator[Chunk]:
        """Hands on what is done, in order, until there is room, and one chunk to the pool."""
        weight = sum(map(self._weigh, element))
        while self._under_way and (
            len(self._under_way) >= self._most or self._weight + weight > self._most_weight
        ):
            yield self._first()
        self._weight += weight
        self._under_way.append((self._pool.submit(self._timed, element), weight))

    def finish_bundle(self) -> Iterator[Any]:
        """Hands on the rest."""
        while self._under_way:
            yield in_global_window(self._first())

    def _first(self) -> Chunk:
        future, weight = self._under_way.popleft()
        self._weight -= weight
        results, microseconds = future.result()
        if self._metric is not None:
            observe(self._metric, microseconds)
        return results

    def teardown(self) -> None:
        """Ends the pool; a read that hangs holds up nobody who was told to stop."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _timed(self, items: Chunk) -> tuple[Chunk, list[int]]:
        results, microseconds = Chunk(), []
        for item in items:
            started = time.perf_counter_ns()
            results.append(self._function(item))
            microseconds.append((time.perf_counter_ns() - started) // 1000)
        return results, microseconds
