"""TensorFlow: one compiled graph from uint8 pixels to the top-k, in batches of one size."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.engines.native_log import native_log_discarded
from transforms.records import Pixels


class TensorFlowEngine:
    """On a GPU if TensorFlow sees one, else on the CPU.

    Batches are padded to one size, so that nothing is traced or compiled twice. A batch that does
    not fit into memory halves that size for good.
    """

    def __init__(self, network: str, image_size: int, top_k: int, batch_size: int) -> None:
        """Loads the SavedModel folder `network` and compiles it for `batch_size`."""
        with native_log_discarded():
            import tensorflow as tf

            gpus = tf.config.list_physical_devices("GPU")
            for gpu in gpus:
                tf.config.experimental.set_memory_growth(gpu, True)
            loaded = tf.saved_model.load(network)

            def classify(pixels: Any) -> tuple[Any, Any]:
                best = tf.math.top_k(loaded.serve(pixels), top_k)
                return best.indices, best.values

            # Traced, and on a GPU compiled by XLA, once for each size of a batch.
            self.classify = tf.function(classify, jit_compile=bool(gpus))
            self._memory_error = tf.errors.ResourceExhaustedError
            self._turn = threading.Lock()
            self._batch = np.zeros((batch_size, image_size, image_size, 3), np.uint8)
            self.top_k([self._batch[0]])

    @property
    def batch_size(self) -> int:
        """Images classified at once: as many as asked for until they did not fit."""
        return len(self._batch)

    def top_k(self, images: Sequence[Pixels]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """See `Engine.top_k`; threads take turns.

        Raises:
            MemoryError: not even one image fits into memory.
        """
        with self._turn:
            return self._best(images)

    def _best(self, images: Sequence[Pixels]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        indices, scores, done = [], [], 0
        while done < len(images):
            some = images[done : done + self.batch_size]
            np.stack(some, out=self._batch[: len(some)])
            self._batch[len(some) :] = 0  # what is left of an image may be why its batch failed
            try:
                found, values = (tensor.numpy() for tensor in self.classify(self._batch))
            except self._memory_error as error:
                self._halve_batch(error)
                continue
            indices.append(found[: len(some)].astype(np.intp))
            scores.append(values[: len(some)])
            done += len(some)
        return np.concatenate(indices), np.concatenate(scores)

    def _halve_batch(self, error: Exception) -> None:
        if self.batch_size == 1:
            raise MemoryError(str(error).split("\n", 1)[0]) from error
        self._batch = self._batch[: self.batch_size // 2].copy()
