"""classify: from pixels to the top-k, in batches, with one model a process."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import PCollection
from apache_beam.utils.shared import Shared

from transforms.cores import available_cores
from transforms.engines import Engine
from transforms.engines.sharing import OwnedEngines, SharedEngine, shared_engine
from transforms.failures import ImageError
from transforms.metrics import BATCH_SIZE, INFERENCE_US, MODEL_LOADS, count, observe
from transforms.models.artifact import Artifact
from transforms.models.publish import engine_setup
from transforms.pooled_map import PooledMap, in_global_window
from transforms.records import Chunk, ClassifiedImage, DecodedImage, Pixels, Prediction

# One that the engine is at work on, and one that is ready when it is done.
_BATCHES: Final = 2

LoadedEngine = SharedEngine | OwnedEngines
TopK = tuple[Prediction, ...]


def classify_images(images: Sequence[DecodedImage], engine: Engine) -> list[ClassifiedImage]:
    """One row in the making for each image, in order; failed ones pass through as they are.

    Raises:
        Exception: whatever the engine raises for images of any content, a blank one included.
    """
    decoded = [(i, image.pixels) for i, image in enumerate(images) if image.pixels is not None]
    rows = [
        ClassifiedImage(image.slot, image.width, image.height, image.format, (), image.failure)
        for image in images
    ]
    found = _bisect([pixels for _, pixels in decoded], engine)
    for (i, _), top_k in zip(decoded, found, strict=True):
        if isinstance(top_k, ImageError):
            rows[i] = rows[i]._replace(failure=top_k.at("classify"))
        else:
            rows[i] = rows[i]._replace(top_k=top_k)
    return rows


def _bisect(images: Sequence[Pixels], engine: Engine) -> Iterator[TopK | ImageError]:
    """The top-k of each image; one that the engine fails on costs none of the others."""
    if not images:
        return
    try:
        classes, scores = engine.top_k(images)
    # Engines raise what their runtime raises: there is no common class.
    except Exception as error:
        if len(images) == 1:
            yield _inference_error(images[0], engine, error)
            return
        half = len(images) // 2
        yield from _bisect(images[:half], engine)
        yield from _bisect(images[half:], engine)
        return
    for indices, values in zip(classes.tolist(), scores.tolist(), strict=True):
        if np.isfinite(values).all():
            yield tuple(map(Prediction, indices, values))
        else:
            yield ImageError("not_finite", f"the network gave the scores {values}")


def _inference_error(image: Pixels, engine: Engine, error: Exception) -> ImageError:
    """The error of one image, if it is the image's: an engine that works takes a blank one."""
    if not isinstance(error, MemoryError):
        engine.top_k([np.zeros_like(image)])
        return ImageError("inference_failed", f"the engine failed: {type(error).__name__}: {error}")
    return ImageError("out_of_memory", f"no memory is left to classify one image: {error}")


class ClassifiedBatch(NamedTuple):
    """The rows of a batch, and how many models were loaded for it."""

    rows: Sequence[ClassifiedImage]
    model_loads: int


class BatchClassifier:
    """Classifies batches with an engine that all of a process share.

    It travels with the graph: the model's place does, the model does not.
    """

    def __init__(self, artifact: Artifact, top_k: int, batch_size: int, siblings: bool) -> None:
        """See `ClassifyImages`."""
        self._artifact = artifact
        self._top_k = top_k
        self._batch_size = batch_size
        self._siblings = siblings
        self._tag = f"mobilenet-beam-{uuid.uuid4().hex}"
        self._shared = Shared()
        self._engine: LoadedEngine | None = None

    def load(self) -> None:
        """Loads the engine, unless another thread of this process has.

        Raises:
            RuntimeError: the launcher has another version of this package.
        """
        self._artifact.check_version()
        # Kept here: of engines that nobody holds, Beam forgets all but the last one.
        self._engine = self._shared.acquire(self._load)

    def _load(self) -> LoadedEngine:
        setup = engine_setup(self._artifact, self._top_k, self._batch_size, available_cores())
        return shared_engine(setup, self._siblings, self._tag)

    def classify(self, batch: Sequence[DecodedImage]) -> ClassifiedBatch:
        """See `classify_images`."""
        assert self._engine is not None
        return ClassifiedBatch(classify_images(batch, self._engine), self._engine.take_loads())


class GatherBatches(beam.DoFn):
    """Chunks of any length to batches of one size, the last of a bundle maybe smaller."""

    def __init__(self, size: int) -> None:
        """`size` is in images."""
        self._size = size

    def start_bundle(self) -> None:
        """Nothing waits."""
        self._waiting: Chunk = Chunk()

    def process(self, images: Chunk) -> Iterator[Chunk]:
        """Hands on each batch that is full, as the one item of a chunk."""
        self._waiting.extend(images)
        while len(self._waiting) >= self._size:
            yield Chunk([Chunk(self._waiting[: self._size])])
            del self._waiting[: self._size]

    def finish_bundle(self) -> Iterator[Any]:
        """Hands on the rest."""
        if self._waiting:
            yield in_global_window(Chunk([self._waiting]))


class ClassifyImages(beam.PTransform):
    """`DecodedImage`s to batches of `ClassifiedImage`s.

    The rows of one batch are handed on, and the next is gathered, while the engine is at work on
    another. Beam's `RunInference` would have it wait.
    """

    def __init__(
        self, artifact: Artifact, top_k: int, batch_size: int, siblings: bool = False
    ) -> None:
        """`siblings` says that the runner starts several processes on a machine."""
        super().__init__()
        self._classifier = BatchClassifier(artifact, top_k, batch_size, siblings)
        self._batch_size = batch_size

    def expand(self, decoded: PCollection[Chunk]) -> PCollection[Chunk]:
        """Gathers batches, infers, and hands on the rows."""
        size, classifier = self._batch_size, self._classifier
        pool = PooledMap(
            classifier.classify,
            _batches_in_flight,
            metric=INFERENCE_US,
            set_up=classifier.load,
        )
        return (
            decoded
            | "Batch" >> beam.ParDo(GatherBatches(size)).with_output_types(Chunk)
            | "Infer" >> beam.ParDo(pool).with_output_types(Chunk)
            | "Rows" >> beam.FlatMap(rows_of_batches).with_output_types(Chunk)
        )


def rows_of_batches(batches: Chunk) -> Iterator[Chunk]:
    """The rows of each; counts what only the thread of a bundle can count."""
    for batch in batches:
        if batch.model_loads:
            count(MODEL_LOADS, batch.model_loads)
        observe(BATCH_SIZE, [len(batch.rows)])
        yield Chunk(batch.rows)


def _batches_in_flight() -> int:
    """Enough for the interpreters of all cores, see `LiteRTEngine`; a GPU is asked for one."""
    return _BATCHES + available_cores() // 4
