"""LiteRT on a CPU: an interpreter a core, each taking one image at a time."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Final

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from transforms.engines.base import best_first
from transforms.engines.native_log import native_log_discarded
from transforms.records import Pixels

# Images that go to an interpreter at once, and one after the other through it.
RUN: Final = 8


class LiteRTEngine:
    """Single-threaded interpreters side by side.

    They scale better than one interpreter with many threads, and an image at a time keeps the
    activations in the cache and needs no padding: a batch is only what is handed over at once.
    """

    def __init__(self, network: str, top_k: int, threads: int) -> None:
        """Loads the .tflite file `network` once for each of `threads`."""
        self._top_k = top_k
        self._idle: SimpleQueue[_Lane] = SimpleQueue()
        for _ in range(threads):
            self._idle.put(_Lane(network))
        self._pool = ThreadPoolExecutor(threads)

    def top_k(self, images: Sequence[Pixels]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """See `Engine.top_k`."""
        runs = [images[start : start + RUN] for start in range(0, len(images), RUN)]
        classes, scores = zip(*self._pool.map(self._classify, runs), strict=True)
        return np.concatenate(classes), np.concatenate(scores)

    def _classify(self, images: Sequence[Pixels]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        lane = self._idle.get()
        try:
            probabilities = np.stack([lane.probabilities(image) for image in images])
        finally:
            self._idle.put(lane)
        return best_first(probabilities, self._top_k)


class _Lane:
    """One interpreter with its buffers."""

    def __init__(self, network: str) -> None:
        with native_log_discarded():
            self._interpreter = Interpreter(network, num_threads=1)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def probabilities(self, image: Pixels) -> NDArray[np.float32]:
        """[classes] float32 of one image [size, size, 3] uint8."""
        self._interpreter.set_tensor(self._input, image[np.newaxis])
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)[0]
