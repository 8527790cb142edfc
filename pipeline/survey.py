"""Counts what a run would classify, in memory that does not grow with it."""

import heapq
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from transforms.ledger import uri_hash
from transforms.records import ListedImage
from transforms.storage.uris import scheme_of

# Distinct URIs are counted exactly up to here, about 100 MB; beyond, by a sample of their hashes.
_MOST_HASHES = 2**20
_HASHES = 2**64


class Survey(NamedTuple):
    """What was listed.

    `distinct` is exact up to a million, then right within about 0.3 % (`is_exact`). The sample
    is chosen by a hash of the URI: the same one in every listing of the same images.
    """

    listed: int
    distinct: int
    is_exact: bool
    failed: int  # of the listed: those that the listing already found unreadable
    sized: int  # of the listed: those whose size the listing knows
    byte_size: int  # of the sized
    uri_bytes: int  # of all URIs
    on_gcs: int  # of the listed
    sample: tuple[ListedImage, ...]

    @property
    def duplicates(self) -> int:
        """How often an image was named again."""
        return max(self.listed - self.distinct, 0)


def survey(images: Iterable[ListedImage], sample: int, most_hashes: int = _MOST_HASHES) -> Survey:
    """Goes once through `images`, keeping `sample` of them."""
    distinct, lowest = DistinctCount(most_hashes), _Lowest(sample)
    listed = failed = sized = byte_size = uri_bytes = on_gcs = 0
    for image in images:
        digest = uri_hash(image.uri)
        distinct.add(digest)
        listed += 1
        uri_bytes += len(image.uri.encode())
        on_gcs += scheme_of(image.uri) == "gs"
        if image.failure is not None:
            failed += 1
            continue
        lowest.offer(digest, image)
        if image.byte_size is not None:
            sized += 1
            byte_size += image.byte_size
    return Survey(
        listed,
        min(distinct.estimate(), listed),
        distinct.is_exact,
        failed,
        sized,
        byte_size,
        uri_bytes,
        on_gcs,
        tuple(lowest),
    )


class DistinctCount:
    """Counts distinct 64-bit hashes in bounded memory, by adaptive sampling.

    Hashes below a threshold are kept; when there are too many of them the threshold is halved
    (Wegman's algorithm, in Flajolet, Computing 43, 1990). Exact until the first halving, then
    with a standard error of about 1.2 / sqrt(most).
    """

    def __init__(self, most: int) -> None:
        """Keeps at most `most` hashes."""
        self._most = most
        self._halvings = 0
        self._kept: set[int] = set()

    @property
    def is_exact(self) -> bool:
        """Whether every hash is still kept."""
        return self._halvings == 0

    def add(self, digest: int) -> None:
        """Counts a hash, 0..2**64 - 1, if it was not there before."""
        if digest < _HASHES >> self._halvings:
            self._kept.add(digest)
            while len(self._kept) > self._most:
                self._halvings += 1
                limit = _HASHES >> self._halvings
                self._kept = {each for each in self._kept if each < limit}

    def estimate(self) -> int:
        """How many distinct ones were added."""
        return len(self._kept) << self._halvings


class _Lowest:
    """The images with the lowest hashes, each once."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._heap: list[tuple[int, str, ListedImage]] = []  # the highest hash on top
        self._uris: set[str] = set()

    def offer(self, digest: int, image: ListedImage) -> None:
        if len(self._heap) == self._count and digest >= -self._heap[0][0]:
            return
        if image.uri in self._uris:
            return
        self._uris.add(image.uri)
        heapq.heappush(self._heap, (-digest, image.uri, image))
        if len(self._heap) > self._count:
            self._uris.remove(heapq.heappop(self._heap)[1])

    def __iter__(self) -> Iterator[ListedImage]:
        return (image for _, _, image in sorted(self._heap, reverse=True))
