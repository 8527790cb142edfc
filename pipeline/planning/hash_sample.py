"""Counts of distinct things in memory that does not grow with them."""

from typing import Generic, TypeVar

HASHES = 2**64

T = TypeVar("T")


class HashSample(Generic[T]):
    """A value for each distinct 64-bit hash, of all or of a known share of them.

    Hashes below a threshold are kept; when there are too many of them the threshold is halved
    (Wegman's algorithm, in Flajolet, Computing 43, 1990). What holds for k of the kept hashes
    holds for about `scaled(k)` of all; exact until the first halving, then with a standard error
    of at most about 1.2 / sqrt(most) of the number of all.
    """

    def __init__(self, most: int) -> None:
        """Keeps at most `most` hashes."""
        self._most = most
        self._halvings = 0
        self.kept: dict[int, T] = {}

    @property
    def is_exact(self) -> bool:
        """Whether every hash is still kept."""
        return self._halvings == 0

    def put(self, digest: int, value: T) -> None:
        """Sets the value of a hash, 0..2**64 - 1, if it is one of those that are kept."""
        if digest < HASHES >> self._halvings:
            self.kept[digest] = value
            while len(self.kept) > self._most:
                self._halvings += 1
                limit = HASHES >> self._halvings
                self.kept = {each: self.kept[each] for each in self.kept if each < limit}

    def scaled(self, count: int) -> int:
        """For how many of all hashes there are `count` among those kept."""
        return count << self._halvings


class DistinctCount:
    """Counts distinct 64-bit hashes."""

    def __init__(self, most: int) -> None:
        """Keeps at most `most` hashes."""
        self._sample = HashSample[None](most)

    @property
    def is_exact(self) -> bool:
        """Whether every hash is still kept."""
        return self._sample.is_exact

    def add(self, digest: int) -> None:
        """Counts a hash, 0..2**64 - 1, if it was not there before."""
        self._sample.put(digest, None)

    def estimate(self) -> int:
        """How many distinct ones were added."""
        return self._sample.scaled(len(self._sample.kept))
