"""From listed images, duplicates included, to shards of distinct ones: a shuffle of URIs."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsSingleton, PCollection
from apache_beam.transforms import combiners

from transforms.earlier_rows import is_current
from transforms.ledger import LedgerLine, uri_digest, uri_hash
from transforms.records import EarlierRow, ListedImage, Mention, Shard, Slot
from transforms.tally import count

# One bucket's URIs are in memory while they are made distinct: about 60 MB at the default size.
_SHARDS_A_BUCKET = 64

Rows = dict[str, EarlierRow]


class Bucket(NamedTuple):
    """Some of the images, cut: what is to be done, and the account of what was listed."""

    shards: list[Shard]
    lines: list[LedgerLine]


def bucket_of(uri: str, buckets: int) -> int:
    """Which of `buckets` a URI belongs to: the same one on every machine."""
    return uri_hash(uri) % buckets


def count_buckets(listed: int, shard_size: int) -> int:
    """How many buckets hold about 64 shards each."""
    return max(1, round(listed / (shard_size * _SHARDS_A_BUCKET)))


def cut_bucket(
    bucket: int, mentions: Iterable[Mention], shard_size: int, retry_all_errors: bool
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
        lines.append(LedgerLine("part", part, len(uris), 0, uri_digest(uris)))
    return Bucket(shards, lines if listed else [])


def slots(shard: Shard) -> Iterator[Slot]:
    """A shard's images, each with its place."""
    size = len(shard.images)
    for image in shard.images:
        yield Slot(shard.name, size, image)


class CutShards(beam.PTransform):
    """`ListedImage`s and the `EarlierRow`s of other runs to `Bucket`s."""

    def __init__(self, shard_size: int, retry_all_errors: bool = False) -> None:
        """`shard_size` is the number of images in one output file."""
        super().__init__()
        self._shard_size = shard_size
        self._retry_all_errors = retry_all_errors

    def expand(
        self, sides: tuple[PCollection[ListedImage], PCollection[EarlierRow]]
    ) -> PCollection[Bucket]:
        """Joins both sides by a hash of the URI, then cuts."""
        listed, earlier = sides
        size, keyed = self._shard_size, tuple[int, Mention]
        total = AsSingleton(listed | "Count" >> combiners.Count.Globally())
        mentions = (
            listed | "Listed" >> beam.Map(_mention_listed, total, size).with_output_types(keyed),
            earlier | "Earlier" >> beam.Map(_mention_row, total, size).with_output_types(keyed),
        )
        return (
            mentions
            | "Both" >> beam.Flatten()
            | "Group" >> beam.GroupByKey()
            | "Cut" >> beam.Map(_cut, size, self._retry_all_errors).with_output_types(Bucket)
        )


def _mention_listed(image: ListedImage, listed: int, shard_size: int) -> tuple[int, Mention]:
    return bucket_of(image.uri, count_buckets(listed, shard_size)), Mention(listed=image)


def _mention_row(row: EarlierRow, listed: int, shard_size: int) -> tuple[int, Mention]:
    return bucket_of(row.uri, count_buckets(listed, shard_size)), Mention(earlier=row)


def _cut(grouped: tuple[int, Iterable[Mention]], shard_size: int, retry_all_errors: bool) -> Bucket:
    bucket = cut_bucket(*grouped, shard_size, retry_all_errors)
    # Before the first image is read, so that progress knows the total.
    for line in bucket.lines:
        if line.kind != "shard":
            count("listed" if line.kind == "bucket" else "skipped", line.images)
    return bucket


def _gather(mentions: Iterable[Mention]) -> tuple[dict[str, ListedImage], Rows, int]:
    """What is listed, its latest earlier rows, and how often a URI was named again.

    Of an image named twice the record that knows more is kept.
    """
    listed: dict[str, ListedImage] = {}
    rows: Rows = {}
    named = 0
    for image, row in mentions:
        if image is not None:
            named += 1
            known = listed.setdefault(image.uri, image)
            if _knowledge(image) > _knowledge(known):
                listed[image.uri] = image
        if row is not None and row.part >= rows.setdefault(row.uri, row).part:
            rows[row.uri] = row
    return listed, rows, named - len(listed)


def _knowledge(image: ListedImage) -> int:
    """0 for a line of a manifest, 1 for a failed listing, 2 for an object that was seen."""
    return 2 if image.byte_size is not None else int(image.failure is not None)
