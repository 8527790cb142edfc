"""TensorFlow: one compiled graph from uint8 pixels to the top-k, in batches of one size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.native_log import native_log_discarded
from transforms.records import Pixels


class TensorFlowEngine:
    """On a GPU if TensorFlow sees one, else on the CPU.

    Batches are padded to one size, so that nothing is traced or compiled twice.
    """

    def __init__(self, network: str, image_size: int, top_k: int, batch_size: int) -> None:
        """Loads the SavedModel folder `network` and compiles it for `batch_size`."""
        with native_log_discarded():
            import tensorflow as tf

            for gpu in tf.config.list_physical_devices("GPU"):
                tf.config.experimental.set_memory_growth(gpu, True)
            self._batch = np.zeros((batch_size, image_size, image_size, 3), np.uint8)
            self._network = tf.saved_model.load(network)
            compiled_by_xla = bool(tf.config.list_physical_devices("GPU"))

            def classify(pixels: Any) -> tuple[Any, Any]:
                best = tf.math.top_k(self._network.serve(pixels), top_k)
                return best.indices, best.values

            signature = [tf.TensorSpec(self._batch.shape, tf.uint8)]
            self._classify = tf.function(classify, signature, jit_compile=compiled_by_xla)
            self._classify(self._batch)

    def top_k(self, images: Sequence[Pixels]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """See `Engine.top_k`."""
        indices, scores = [], []
        for start in range(0, len(images), len(self._batch)):
            some = images[start : start + len(self._batch)]
            np.stack(some, out=self._batch[: len(some)])
            found, values = self._classify(self._batch)
            indices.append(found.numpy()[: len(some)].astype(np.intp))
            scores.append(values.numpy()[: len(some)])
        return np.concatenate(indices), np.concatenate(scores)
