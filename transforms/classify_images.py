"""classify: from pixels to the top-k, in batches, with one model a process."""

from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.pvalue import PCollection

from transforms.cores import available_cores
from transforms.engines import Engine, load_engine
from transforms.failures import ImageError
from transforms.models.artifact import Artifact
from transforms.records import ClassifiedImage, DecodedImage, Prediction


def classify_images(images: Sequence[DecodedImage], engine: Engine) -> list[ClassifiedImage]:
    """One row in the making for each image, in order; failed ones pass through as they are."""
    decoded = [(i, image.pixels) for i, image in enumerate(images) if image.pixels is not None]
    rows = [
        ClassifiedImage(image.slot, image.width, image.height, image.format, (), image.failure)
        for image in images
    ]
    if not decoded:
        return rows
    classes, scores = engine.top_k([pixels for _, pixels in decoded])
    for (i, _), indices, values in zip(decoded, classes.tolist(), scores.tolist(), strict=True):
        if np.isfinite(values).all():
            rows[i] = rows[i]._replace(top_k=tuple(map(Prediction, indices, values)))
        else:
            error = ImageError("not_finite", f"the network gave the scores {values}")
            rows[i] = rows[i]._replace(failure=error.at("classify"))
    return rows


class ImageClassifier(ModelHandler[DecodedImage, ClassifiedImage, Engine]):
    """Hands batches of a fixed size to the engine."""

    def __init__(self, artifact: Artifact, top_k: int, batch_size: int) -> None:
        """Nothing is loaded here: the handler travels with the graph."""
        super().__init__(min_batch_size=batch_size, max_batch_size=batch_size)
        self._artifact = artifact
        self._top_k = top_k
        self._batch_size = batch_size

    def load_model(self) -> Engine:
        """The engine, once a process."""
        return load_engine(self._artifact, self._top_k, self._batch_size, available_cores())

    def run_inference(
        self,
        batch: Sequence[DecodedImage],
        model: Engine,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[ClassifiedImage]:
        """See `classify_images`."""
        return classify_images(batch, model)

    def get_num_bytes(self, batch: Sequence[DecodedImage]) -> int:
        """Bytes of pixels; the inherited way pickles the whole batch to know."""
        return sum(image.pixels.nbytes for image in batch if image.pixels is not None)

    def get_metrics_namespace(self) -> str:
        """Where RunInference's own metrics stand."""
        return "inference"


class ClassifyImages(beam.PTransform):
    """`DecodedImage`s to `ClassifiedImage`s."""

    def __init__(self, artifact: Artifact, top_k: int, batch_size: int) -> None:
        """See `ImageClassifier`."""
        super().__init__()
        self._classifier = ImageClassifier(artifact, top_k, batch_size)

    def expand(self, decoded: PCollection[DecodedImage]) -> PCollection[ClassifiedImage]:
        """Batches and infers."""
        return decoded | RunInference(self._classifier)
