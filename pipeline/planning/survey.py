"""Counts what a run would classify, in memory that does not grow with it."""

import heapq
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipeline.planning.hash_sample import DistinctCount
from pipeline.planning.skipped import EarlierRows, Skipped
from transforms.ledger import uri_hash
from transforms.records import ListedImage
from transforms.storage.uris import container_of, is_tar, scheme_of

# Distinct URIs are counted exactly up to here, about 120 MB and with tars 170 MB; beyond, by a
# sample of their hashes.
_MOST_HASHES = 2**20
_NONE_SKIPPED = Skipped(0, 0, True)


class Tars(NamedTuple):
    """The tars among what was listed, each counted once."""

    members: int  # distinct images in them
    listed: int  # those fetched to be listed
    read: int  # those with images to be read, whether they were listed or a manifest names these


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
    tars: Tars
    skipped: Skipped
    sample: tuple[ListedImage, ...]

    @property
    def duplicates(self) -> int:
        """How often an image was named again."""
        return max(self.listed - self.distinct, 0)

    @property
    def objects(self) -> int:
        """What a storage lists of it: images by themselves, and tars."""
        return max(self.distinct - self.tars.members, 0) + self.tars.listed

    @property
    def due(self) -> int:
        """What a run would do."""
        return max(self.distinct - self.skipped.images, 0)

    @property
    def due_members(self) -> int:
        """Of these, images in tars."""
        return min(max(self.tars.members - self.skipped.members, 0), self.due)


def survey(
    images: Iterable[ListedImage],
    sample: int,
    most_hashes: int = _MOST_HASHES,
    earlier: EarlierRows | None = None,
) -> Survey:
    """Goes once through `images`, keeping `sample` of them.

    Skipped is what is current in `earlier`; nothing, if there is none.
    """
    distinct, lowest, tars = DistinctCount(most_hashes), _Lowest(sample), _TarCount(most_hashes)
    listed = failed = sized = byte_size = uri_bytes = on_gcs = 0
    for image in images:
        digest = uri_hash(image.uri)
        distinct.add(digest)
        tars.add(digest, image)
        if earlier is not None:
            earlier.see(digest, image)
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
        tars.counts(),
        earlier.skipped() if earlier is not None else _NONE_SKIPPED,
        tuple(lowest),
    )


class _TarCount:
    """Counts tars and what is in them."""

    def __init__(self, most: int) -> None:
        self._members, self._listed, self._read = (DistinctCount(most) for _ in range(3))
        self._tar = ""  # of the last member: the next one is often of the same

    def add(self, digest: int, image: ListedImage) -> None:
        if not self._tar or not image.uri.startswith(f"{self._tar}::"):
            container = container_of(image.uri)
            if container == image.uri:
                if is_tar(container):  # one that breaks, or has no image
                    self._listed.add(digest)
                return
            self._tar, self._digest = container, uri_hash(container)
        self._members.add(digest)
        if image.byte_size is not None or image.failure is not None:
            self._listed.add(self._digest)  # a manifest that names a member knows neither
        if image.failure is None:
            self._read.add(self._digest)

    def counts(self) -> Tars:
        return Tars(self._members.estimate(), self._listed.estimate(), self._read.estimate())


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
