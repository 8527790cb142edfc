"""measure: how fast this machine reads, decodes and classifies a sample, one image at a time."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple, TypeVar

from transforms.decode_images import Preprocessing, decode_image
from transforms.engines import gpu_is_visible, load_engine
from transforms.failures import Failure, ImageError
from transforms.models.artifact import Artifact
from transforms.read_images import read_image
from transforms.records import ListedImage, Pixels, Slot

# A rate is stable after half a second; a small sample is gone through again until then.
_LEAST_SECONDS = 0.5

T = TypeVar("T")


class Rates(NamedTuple):
    """What a sample showed.

    `decode` and `infer_core` are images for each second of a core's time, `infer_gpu` of a GPU's;
    of the two, the one that this machine cannot show is None.
    """

    tried: int
    read: int
    decoded: int
    failures: tuple[Failure, ...]
    read_seconds: float  # mean of one read, none other in flight
    mean_bytes: float  # of those read
    decode: float
    infer_core: float | None
    infer_gpu: float | None

    @property
    def reasons(self) -> dict[str, int]:
        """Failures by reason, the commonest first."""
        return dict(Counter(failure.error for failure in self.failures).most_common())


def measure_rates(
    images: Sequence[ListedImage],
    artifact: Artifact,
    preprocessing: Preprocessing,
    top_k: int,
    batch_size: int,
    max_bytes: int,
) -> Rates:
    """Reads each image once, then times decoding and inference over those that can be decoded.

    Those of one tar are read one after the other, so that it is fetched once.

    Raises:
        ValueError: not one image can be decoded; names the first reason.
    """
    started = time.monotonic()
    side_by_side = sorted(images, key=attrgetter("uri"))
    fetched = [read_image(Slot("", len(images), image), max_bytes) for image in side_by_side]
    read_seconds = (time.monotonic() - started) / max(len(images), 1)
    failures = [each.failure for each in fetched if each.failure is not None]
    contents = [each.content for each in fetched if each.content is not None]
    good, pixels = _decodable(contents, preprocessing, failures)
    if not good:
        why = f": {failures[0].message}" if failures else ""
        raise ValueError(f"none of the {len(images):,} images of the sample can be decoded{why}")
    infer_core, infer_gpu = _infer(pixels, artifact, top_k, batch_size)
    return Rates(
        tried=len(images),
        read=len(contents),
        decoded=len(good),
        failures=tuple(failures),
        read_seconds=read_seconds,
        mean_bytes=sum(map(len, contents)) / len(contents),
        decode=rate(lambda content: decode_image(content, preprocessing), good),
        infer_core=infer_core,
        infer_gpu=infer_gpu,
    )


def rate(
    function: Callable[[T], object],
    items: Sequence[T],
    clock: Callable[[], float] = time.process_time,
) -> float:
    """Calls a second, over whole passes of `items`.

    By default a second of one core's time, which other processes on this machine do not lengthen.
    """
    done, started = 0, clock()
    while True:
        for item in items:
            function(item)
        done += len(items)
        seconds = clock() - started
        if seconds >= _LEAST_SECONDS:
            return done / seconds


def _decodable(
    contents: Sequence[bytes], preprocessing: Preprocessing, failures: list[Failure]
) -> tuple[list[bytes], list[Pixels]]:
    good, pixels = [], []
    for content in contents:
        try:
            pixels.append(decode_image(content, preprocessing).pixels)
            good.append(content)
        except ImageError as error:
            failures.append(error.at("decode"))
    return good, pixels


def _infer(
    pixels: Sequence[Pixels], artifact: Artifact, top_k: int, batch_size: int
) -> tuple[float | None, float | None]:
    """Images/s of a core and of a GPU; only the one that the engine of `artifact` uses."""
    engine = load_engine(artifact, top_k, batch_size, threads=1)
    batch = [pixels[i % len(pixels)] for i in range(batch_size)]
    engine.top_k(batch)
    if artifact.engine == "tensorflow" and gpu_is_visible():
        return None, rate(engine.top_k, [batch], time.monotonic) * batch_size
    return rate(engine.top_k, [batch]) * batch_size, None
