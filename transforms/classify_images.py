"""classify: from pixels to the top-k, in batches, with one model a process."""

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.pvalue import PCollection

from transforms.cores import available_cores
from transforms.engines import Engine
from transforms.engines.sharing import OwnedEngines, SharedEngine, shared_engine
from transforms.failures import ImageError
from transforms.models.artifact import Artifact
from transforms.records import ClassifiedImage, DecodedImage, Pixels, Prediction
from transforms.tally import BATCH_SIZE, INFERENCE_US, MODEL_LOADS, count, observe

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


class ImageClassifier(ModelHandler[DecodedImage, ClassifiedImage, LoadedEngine]):
    """Hands batches of a fixed size to the engine."""

    def __init__(
        self, artifact: Artifact, top_k: int, batch_size: int, siblings: bool = False
    ) -> None:
        """Nothing is loaded here: the handler travels with the graph.

        `siblings` says that the runner starts several processes on a machine.
        """
        super().__init__(min_batch_size=batch_size, max_batch_size=batch_size)
        self._artifact = artifact
        self._top_k = top_k
        self._batch_size = batch_size
        self._siblings = siblings
        self._tag = f"mobilenet-beam-{uuid.uuid4().hex}"

    def load_model(self) -> LoadedEngine:
        """The engine, once a process."""
        return shared_engine(
            self._artifact,
            self._top_k,
            self._batch_size,
            available_cores(),
            self._siblings,
            self._tag,
        )

    def run_inference(
        self,
        batch: Sequence[DecodedImage],
        model: LoadedEngine,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[ClassifiedImage]:
        """See `classify_images`."""
        # Not counted where it is loaded: there is no bundle to count in.
        if loads := model.take_loads():
            count(MODEL_LOADS, loads)
        started = time.perf_counter_ns()
        rows = classify_images(batch, model)
        observe(INFERENCE_US, (time.perf_counter_ns() - started) // 1000)
        observe(BATCH_SIZE, len(batch))
        return rows

    def get_num_bytes(self, batch: Sequence[DecodedImage]) -> int:
        """Bytes of pixels; the inherited way pickles the whole batch to know."""
        return sum(image.pixels.nbytes for image in batch if image.pixels is not None)

    def get_metrics_namespace(self) -> str:
        """Where RunInference's own metrics stand."""
        return "inference"


class ClassifyImages(beam.PTransform):
    """`DecodedImage`s to `ClassifiedImage`s."""

    def __init__(
        self, artifact: Artifact, top_k: int, batch_size: int, siblings: bool = False
    ) -> None:
        """See `ImageClassifier`."""
        super().__init__()
        self._classifier = ImageClassifier(artifact, top_k, batch_size, siblings)

    def expand(self, decoded: PCollection[DecodedImage]) -> PCollection[ClassifiedImage]:
        """Batches and infers."""
        return decoded | RunInference(self._classifier)
