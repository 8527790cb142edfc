"""What every engine can do."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from transforms.records import Pixels


class Engine(Protocol):
    """A loaded network; one a process, called from any of its threads."""

    def top_k(self, images: Sequence[Pixels]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """The k best classes of each image.

        Args:
            images: n arrays [size, size, 3] uint8 RGB, 0..255.

        Returns:
            Class indices [n, k], best first, and their probabilities [n, k] float32, 0..1.
        """
        ...


def best_first(
    probabilities: NDArray[np.float32], k: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Indices and values [n, k] of the k largest of [n, classes], equal ones by index."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(probabilities, order, axis=1)
