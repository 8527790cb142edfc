"""How fast this machine reads, decodes and classifies a sample, one image at a time."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final, NamedTuple, TypeVar

from transforms.decode_images import Preprocessing, decode_image
from transforms.engines import gpu_is_visible, load_engine
from transforms.failures import ImageError
from transforms.models.artifact import Artifact
from transforms.models.publish import engine_setup
from transforms.read_images import read_image
from transforms.records import ListedImage, Pixels, Slot
from transforms.storage.uris import container_of

# A rate is stable after half a second; a small sample is gone through again until then.
_LEAST_SECONDS: Final = 0.5

T = TypeVar("T")


class Rates(NamedTuple):
    """What a sample showed.

    `decode` and `infer_core` are images for each second of a core's time, `infer_gpu` of a GPU's;
    of the two, the one that this machine cannot show is None.
    """

    tried: int
    decoded: int
    failures: dict[str, int]  # by reason, the commonest first
    get_seconds: float  # mean of one image or whole tar, none other in flight
    mean_bytes: float  # of those read
    decode: float
    infer_core: float | None
    infer_gpu: float | None


def measure_rates(
    images: Sequence[ListedImage],
    artifact: Artifact,
    preprocessing: Preprocessing,
    batch_size: int,
    max_bytes: int,
    clock: Callable[[], float] = time.monotonic,
) -> Rates:
    """Reads each image once, then times decoding and inference over those that can be decoded.

    Reading and decoding are timed by `clock`, since some images are decoded in a process apart.

    Raises:
        ValueError: not one image can be decoded; names the first reason.
    """
    started = clock()
    side_by_side = sorted(images, key=attrgetter("uri"))  # so that each tar is fetched once
    fetched = [read_image(Slot("", len(images), image), max_bytes) for image in side_by_side]
    seconds = clock() - started
    failures = [each.failure for each in fetched if each.failure is not None]
    contents = [each.content for each in fetched if each.content is not None]
    good: list[bytes] = []
    pixels: list[Pixels] = []
    for content in contents:
        try:
            pixels.append(decode_image(content, preprocessing).pixels)
            good.append(content)
        except ImageError as error:
            failures.append(error.at("decode"))
    if not good:
        why = f": {failures[0].message}" if failures else ""
        raise ValueError(f"none of the {len(images):,} images of the sample can be decoded{why}")
    infer_core, infer_gpu = _infer(pixels, artifact, batch_size)
    return Rates(
        tried=len(images),
        decoded=len(good),
        failures=dict(Counter(failure.error for failure in failures).most_common()),
        get_seconds=seconds / len({container_of(image.uri) for image in images}),
        mean_bytes=sum(map(len, contents)) / len(contents),
        decode=rate(lambda content: decode_image(content, preprocessing), good, clock),
        infer_core=infer_core,
        infer_gpu=infer_gpu,
    )


def rate(function: Callable[[T], object], items: Sequence[T], clock: Callable[[], float]) -> float:
    """Calls for each second of `clock`, over whole passes of `items`."""
    done, started = 0, clock()
    while True:
        for item in items:
            function(item)
        done += len(items)
        seconds = clock() - started
        if seconds >= _LEAST_SECONDS:
            return done / seconds


def _infer(
    pixels: Sequence[Pixels], artifact: Artifact, batch_size: int
) -> tuple[float | None, float | None]:
    """Images/s of a core and of a GPU; only the one that the engine of `artifact` uses."""
    engine = load_engine(engine_setup(artifact, 1, batch_size, threads=1))
    batch = [pixels[i % len(pixels)] for i in range(batch_size)]
    engine.top_k(batch)
    if artifact.engine == "tensorflow" and gpu_is_visible():
        return None, rate(engine.top_k, [batch], time.monotonic) * batch_size
    # By the time of all cores, since TensorFlow uses as many as there are.
    return rate(engine.top_k, [batch], time.process_time) * batch_size, None
