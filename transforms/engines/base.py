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
    """Indices and values [n, k] of the k largest of [n, classes], equal ones by index; NaN last."""
    found = [_best_of_row(row, k) for row in -probabilities]
    order = np.array(found, np.intp).reshape(len(found), -1)
    return order, np.take_along_axis(probabilities, order, axis=1)


def _best_of_row(negated: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Sorts only those that are not below the k-th: to sort a thousand takes 40 microseconds."""
    kth = np.partition(negated, k - 1)[k - 1]
    candidates = np.flatnonzero(~(negated > kth))
    return candidates[np.argsort(negated[candidates], kind="stable")[:k]]
