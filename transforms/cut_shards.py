"""From listed images, duplicates included, to shards of distinct ones: a shuffle of URIs."""

import hashlib
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.pvalue import AsSingleton, PCollection
from apache_beam.transforms import combiners

from transforms.records import ListedImage, Shard, Slot
from transforms.tally import count

# One bucket's URIs are in memory while they are made distinct: about 60 MB at the default size.
_SHARDS_A_BUCKET = 64


def bucket_of(uri: str, buckets: int) -> int:
    """Which of `buckets` a URI belongs to: the same one on every machine."""
    return _hash(uri) % buckets


def count_buckets(listed: int, shard_size: int) -> int:
    """How many buckets hold about 64 shards each."""
    return max(1, round(listed / (shard_size * _SHARDS_A_BUCKET)))


def cut_bucket(grouped: tuple[int, Iterable[ListedImage]], shard_size: int) -> Iterator[Shard]:
    """A bucket's distinct images in the order of their URIs, `shard_size` a shard.

    Of an image named twice the record that knows more is kept.
    """
    bucket, listed = grouped
    distinct: dict[str, ListedImage] = {}
    named = 0
    for image in listed:
        named += 1
        known = distinct.setdefault(image.uri, image)
        if _knowledge(image) > _knowledge(known):
            distinct[image.uri] = image
    images = [distinct[uri] for uri in sorted(distinct)]
    duplicates = named - len(images)
    count("listed", len(images))  # before the first image is read, so the total is known
    for index, start in enumerate(range(0, len(images), shard_size)):
        name = f"{bucket:05d}-{index:05d}"
        yield Shard(name, images[start : start + shard_size], duplicates)
        duplicates = 0


def slots(shard: Shard) -> Iterator[Slot]:
    """A shard's images, each with its place."""
    size = len(shard.images)
    for image in shard.images:
        yield Slot(shard.name, size, image)


def uri_digest(uris: Iterable[str]) -> int:
    """A 64-bit sum that two lists of distinct URIs share only if they hold the same ones."""
    return sum(map(_hash, uris)) % 2**64


class CutShards(beam.PTransform):
    """`ListedImage`s to `Shard`s."""

    def __init__(self, shard_size: int) -> None:
        """`shard_size` is the number of images in one output file."""
        super().__init__()
        self._shard_size = shard_size

    def expand(self, listed: PCollection[ListedImage]) -> PCollection[Shard]:
        """Groups by a hash of the URI, then cuts."""
        size = self._shard_size
        total = AsSingleton(listed | "Count" >> combiners.Count.Globally())
        return (
            listed
            | "Bucket" >> beam.Map(_keyed, total, size).with_output_types(tuple[int, ListedImage])
            | "Group" >> beam.GroupByKey()
            | "Cut" >> beam.FlatMap(cut_bucket, size).with_output_types(Shard)
        )


def _keyed(image: ListedImage, listed: int, shard_size: int) -> tuple[int, ListedImage]:
    return bucket_of(image.uri, count_buckets(listed, shard_size)), image


def _knowledge(image: ListedImage) -> int:
    """0 for a line of a manifest, 1 for a failed listing, 2 for an object that was seen."""
    return 2 if image.byte_size is not None else int(image.failure is not None)


def _hash(uri: str) -> int:
    return int.from_bytes(hashlib.blake2b(uri.encode(), digest_size=8).digest(), "big")
