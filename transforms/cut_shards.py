"""From listed images, duplicates included, to shards of distinct ones: a shuffle of URIs."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsSingleton, PCollection
from apache_beam.utils.windowed_value import WindowedValue

from transforms.earlier_rows import is_current
from transforms.ledger import LedgerLine, uri_digest, uri_hash
from transforms.metrics import LISTED, SKIPPED, count
from transforms.pooled_map import in_global_window
from transforms.records import EarlierRow, ListedImage, Mentions, Shard
from transforms.storage.uris import container_of

# One bucket's URIs are in memory while they are made distinct: about 60 MB at the default size.
_SHARDS_A_BUCKET = 64
_PIECE = 1000  # URIs that cross the shuffle as one element, about 100 kB

Rows = dict[str, EarlierRow]


class Bucket(NamedTuple):
    """Part of the listed images: the shards to classify and the lines of the ledger."""

    shards: list[Shard]
    lines: list[LedgerLine]


def bucket_of(uri: str, buckets: int) -> int:
    """The bucket of a URI, 0 to `buckets` - 1; the same on every machine.

    The members of a tar share one, so that few shards, and few workers, fetch the same tar.
    """
    return uri_hash(container_of(uri)) % buckets


def count_buckets(listed: int, shard_size: int) -> int:
    """How many buckets hold about 64 shards each."""
    return max(1, round(listed / (shard_size * _SHARDS_A_BUCKET)))


def cut_bucket(
    bucket: int, mentions: Iterable[Mentions], shard_size: int, retry_all_errors: bool
) -> Bucket:
    """A bucket's due images in the order of their URIs, `shard_size` a shard.

    Due is what was listed, each URI once, unless the latest of its earlier rows is current.
    """
    listed, earlier, duplicates = _gather(mentions)
    due, skipped = [], defaultdict(list)
    for uri in sorted(listed):
        row = earlier.get(uri)
        if row is not None and is_current(row, listed[uri], retry_all_errors):
            skipped[row.part].append(uri)
        else:
            due.append(listed[uri])
    name = f"{bucket:05d}"
    starts = enumerate(range(0, len(due), shard_size))
    shards = [Shard(f"{name}-{i:05d}", due[start : start + shard_size]) for i, start in starts]
    lines = [LedgerLine("bucket", name, len(listed), duplicates, uri_digest(listed))]
    for shard in shards:
        digest = uri_digest(image.uri for image in shard.images)
        lines.append(LedgerLine("shard", shard.name, len(shard.images), 0, digest))
    for part, uris in skipped.items():
        errors = sum(earlier[uri].error is not None for uri in uris)
        lines.append(LedgerLine("part", part, len(uris), 0, uri_digest(uris), errors))
    return Bucket(shards, lines if listed else [])


def better_known(image: ListedImage, again: ListedImage) -> ListedImage:
    """The one of two records of an image with more fields known; the first if both know as much."""
    return again if _knowledge(again) > _knowledge(image) else image


def later(row: EarlierRow, other: EarlierRow) -> EarlierRow:
    """The row of the later run; the second if both are of the same one."""
    return other if other.part >= row.part else row


class CountListed(beam.DoFn):
    """Emits the number of elements, once a bundle; `combiners.Count` emits every element first."""

    def __init__(self) -> None:
        """Nothing was listed."""
        self._listed = 0

    def start_bundle(self) -> None:
        """Counts from nothing."""
        self._listed = 0

    def process(self, image: ListedImage) -> None:
        """Counts."""
        self._listed += 1

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Emits the number."""
        yield in_global_window(self._listed)


class PutIntoBuckets(beam.DoFn):
    """Emits records grouped by bucket, 1,000 an element: one element costs less than 1,000."""

    def __init__(self, mentions: Callable[[Sequence[Any]], Mentions]) -> None:
        """Makes a piece from some of the elements, which have a `uri`."""
        self._mentions = mentions

    def start_bundle(self) -> None:
        """All buckets are empty."""
        self._pieces: defaultdict[int, list[Any]] = defaultdict(list)

    def process(self, element: Any, listed: int, shard_size: int) -> Iterator[tuple[int, Mentions]]:
        """Adds one element and emits its bucket's piece once that is full."""
        bucket = bucket_of(element.uri, count_buckets(listed, shard_size))
        piece = self._pieces[bucket]
        piece.append(element)
        if len(piece) == _PIECE:
            yield bucket, self._mentions(self._pieces.pop(bucket))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Emits the pieces that are not full."""
        for bucket, piece in self._pieces.items():
            yield in_global_window((bucket, self._mentions(piece)))


class CutShards(beam.PTransform):
    """`ListedImage`s to `Bucket`s, without those that have a current row from an earlier run."""

    def __init__(
        self, earlier: PCollection[EarlierRow], shard_size: int, retry_all_errors: bool = False
    ) -> None:
        """`shard_size` is the number of images in one output file."""
        super().__init__()
        self._earlier = earlier
        self._shard_size = shard_size
        self._retry_all_errors = retry_all_errors

    def expand(self, listed: PCollection[ListedImage]) -> PCollection[Bucket]:
        """Joins both sides by a hash of the URI, then cuts."""
        size = self._shard_size
        counts = listed | "Count" >> beam.ParDo(CountListed()).with_output_types(int)
        total = AsSingleton(counts | "Total" >> beam.CombineGlobally(sum))
        inputs, rows = PutIntoBuckets(_listed_mentions), PutIntoBuckets(_row_mentions)
        keyed = tuple[int, Mentions]
        return (
            (
                listed | "Listed" >> beam.ParDo(inputs, total, size).with_output_types(keyed),
                self._earlier | "Rows" >> beam.ParDo(rows, total, size).with_output_types(keyed),
            )
            | "Both" >> beam.Flatten()
            | "Group" >> beam.GroupByKey()
            | "Cut" >> beam.Map(_cut, size, self._retry_all_errors).with_output_types(Bucket)
        )


def _listed_mentions(images: Sequence[ListedImage]) -> Mentions:
    return Mentions(listed=images)


def _row_mentions(rows: Sequence[EarlierRow]) -> Mentions:
    return Mentions(earlier=rows)


def _cut(
    grouped: tuple[int, Iterable[Mentions]], shard_size: int, retry_all_errors: bool
) -> Bucket:
    bucket = cut_bucket(*grouped, shard_size, retry_all_errors)
    # Before the first image is read, so that progress knows the total.
    for line in bucket.lines:
        if line.kind != "shard":
            count(LISTED if line.kind == "bucket" else SKIPPED, line.images)
    return bucket


def _gather(mentions: Iterable[Mentions]) -> tuple[dict[str, ListedImage], Rows, int]:
    """Listed images by URI, the latest earlier row of each, and the number of duplicates."""
    listed: dict[str, ListedImage] = {}
    rows: Rows = {}
    named = 0
    for images, earlier in mentions:
        named += len(images)
        for image in images:
            listed[image.uri] = better_known(listed.get(image.uri, image), image)
        for row in earlier:
            rows[row.uri] = later(rows.get(row.uri, row), row)
    return listed, rows, named - len(listed)


def _knowledge(image: ListedImage) -> int:
    """0 for a line of a manifest, 1 for a failed listing, 2 for an object that was seen."""
    return 2 if image.byte_size is not None else int(image.failure is not None)
