"""Which images the report shows, and their thumbnails."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from duckdb import DuckDBPyConnection

from pipeline.options import NetworkOptions
from pipeline.report.facts import drawn_by
from pipeline.report.runs import RunFacts
from pipeline.report.thumbnail import Recorded, Thumbnail, make_thumbnail
from transforms.decode_images import Preprocessing

LEAST_CONFIDENT: Final = 24
DRAWN: Final = 36
MOST_CLASSES: Final = 5  # shown of an image's top-k
SIDE: Final = 184  # pixels
_THREADS: Final = 16
# A storage that does not answer must not keep the report from being written.
READING_S: Final = 30.0
_TOO_LATE: Final = Thumbnail(None, f"not read within {READING_S:.0f} s", is_changed=False)

T = TypeVar("T")
R = TypeVar("R")


class Guess(NamedTuple):
    """One of the top-k."""

    label: str
    score: float


class Shown(NamedTuple):
    """An image's row in one run: (uri, run_id) is its key."""

    image: Recorded
    run_id: str
    guesses: list[Guess]


Key = tuple[str, str]


def least_confident(db: DuckDBPyConnection) -> list[Key]:
    """The images whose best class has the lowest scores."""
    return db.execute(
        "SELECT uri, run_id FROM latest WHERE score IS NOT NULL ORDER BY score, uri LIMIT ?",
        [LEAST_CONFIDENT],
    ).fetchall()


def drawn(db: DuckDBPyConnection, seed: int) -> list[Key]:
    """Images with a prediction, drawn by chance: those whose hash with `seed` is the smallest."""
    return db.execute(
        "SELECT uri, run_id FROM latest WHERE score IS NOT NULL "
        f"ORDER BY {drawn_by('uri', seed)} LIMIT ?",
        [DRAWN],
    ).fetchall()


def read_shown(db: DuckDBPyConnection, keys: Sequence[Key]) -> dict[Key, Shown]:
    """The rows of these images in these runs."""
    wanted = set(keys)
    uris = sorted({uri for uri, _ in keys})
    # Written out, a list is compared with the statistics of each file before its rows are read.
    marks = ", ".join("?" * len(uris)) or "NULL"
    rows = db.execute(
        "SELECT uri, run_id, byte_size, epoch_us(last_modified), top_k "
        f"FROM predictions WHERE uri IN ({marks})",
        uris,
    ).fetchall()
    return {
        (uri, run_id): Shown(Recorded(uri, size, modified), run_id, _guesses(top_k))
        for uri, run_id, size, modified, top_k in rows
        if (uri, run_id) in wanted
    }


def make_thumbnails(shown: Sequence[Shown], runs: Sequence[RunFacts]) -> dict[str, Thumbnail]:
    """A thumbnail for each URI, under the limits and with the cut of its run."""
    configurations = {run.run_id: run.configuration for run in runs}
    images = {image.image.uri: image for image in shown}

    def thumbnail(image: Shown) -> Thumbnail:
        preprocessing, max_bytes = _limits(configurations.get(image.run_id, {}))
        return make_thumbnail(image.image, preprocessing, max_bytes)

    made = map_in_time(thumbnail, list(images.values()), READING_S)
    return {uri: found or _TOO_LATE for uri, found in zip(images, made, strict=True)}


def map_in_time(function: Callable[[T], R], items: Sequence[T], seconds: float) -> list[R | None]:
    """Applies `function` to each item on threads; None for results not ready after `seconds`.

    The threads die with the process, so that one of them waiting for a dead server holds up
    nothing; an exception in one of them is raised here.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, R | None, Exception | None]] = queue.SimpleQueue()
    for index in range(len(items)):
        waiting.put(index)

    def work() -> None:
        while True:
            try:
                index = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((index, function(items[index]), None))
            except Exception as error:  # raised again where it is noticed
                done.put((index, None, error))

    for _ in range(min(_THREADS, len(items))):
        threading.Thread(target=work, daemon=True).start()
    results: list[R | None] = [None] * len(items)
    end = time.monotonic() + seconds
    for _ in items:
        try:
            index, result, error = done.get(timeout=max(end - time.monotonic(), 0))
        except queue.Empty:
            break
        if error is not None:
            raise error
        results[index] = result
    return results


def _limits(configuration: dict[str, Any]) -> tuple[Preprocessing, int]:
    def of(name: str) -> Any:
        value, default = configuration.get(name), getattr(NetworkOptions, name)
        return value if isinstance(value, type(default)) else default

    resize = of("resize") if of("resize") in ("crop", "squash", "keras") else NetworkOptions.resize
    return Preprocessing(SIDE, resize, of("max_pixels")), of("max_bytes")


def _guesses(top_k: list[dict[str, Any]] | None) -> list[Guess]:
    return [Guess(one["label"], one["score"]) for one in (top_k or [])[:MOST_CLASSES]]
