"""What flows through the pipeline, each record with its coder."""

import pickle
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from apache_beam.coders import Coder, RowCoder
from apache_beam.coders.typecoders import registry
from numpy.typing import NDArray

from transforms.failures import Failure

Pixels = NDArray[np.uint8]


class ListedImage(NamedTuple):
    """One input as the listing knows it.

    `byte_size` is in bytes and `last_modified` in microseconds since the epoch (UTC); both are
    None where the listing does not know them, as for the lines of a manifest.
    """

    uri: str
    byte_size: int | None = None
    last_modified: int | None = None
    failure: Failure | None = None


class EarlierRow(NamedTuple):
    """The row that an earlier run left for an image, as far as resuming asks for it."""

    uri: str
    part: str  # its file below the output folder; those of later runs sort behind
    is_same_model: bool
    error: str | None
    retryable: bool
    byte_size: int | None
    last_modified: int | None


class Mentions(NamedTuple):
    """Listed images and earlier rows of one bucket."""

    listed: Sequence[ListedImage] = ()
    earlier: Sequence[EarlierRow] = ()


class Shard(NamedTuple):
    """The unit of work, of commit and of resuming: these images become one Parquet file."""

    name: str
    images: Sequence[ListedImage]


class Slot(NamedTuple):
    """One image's place in its shard; whoever writes the shard waits for `shard_size` of them."""

    shard: str
    shard_size: int
    image: ListedImage


class FetchedImage(NamedTuple):
    """An image's bytes, or why there are none."""

    slot: Slot
    content: bytes | None
    failure: Failure | None


class DecodedImage(NamedTuple):
    """An image as the network takes it: pixels [size, size, 3] uint8 RGB, 0..255.

    `width` and `height` are pixels as stored, before any EXIF turn.
    """

    slot: Slot
    pixels: Pixels | None
    width: int | None
    height: int | None
    format: str | None
    failure: Failure | None


class Prediction(NamedTuple):
    """One of the top-k: `score` is the softmax probability, 0..1."""

    class_index: int
    score: float


class ClassifiedImage(NamedTuple):
    """One output row in the making: predictions best first, or the failure."""

    slot: Slot
    width: int | None
    height: int | None
    format: str | None
    top_k: tuple[Prediction, ...]
    failure: Failure | None


class WrittenShard(NamedTuple):
    """A shard that lies on disk as one whole file."""

    name: str
    rows: int


class Chunk(list[Any]):
    """Some images that go through the fused stage as one element, one record each."""


class ChunkCoder(Coder):
    """Says no size: Beam asks for the size of a sample of all elements, and would pickle them."""

    def encode(self, value: Any) -> bytes:
        """For a runner that ends the fused stage early."""
        return pickle.dumps(value)

    def decode(self, encoded: bytes) -> Any:
        """See `encode`."""
        return pickle.loads(encoded)

    def estimate_size(self, value: Any) -> int:
        """Bytes, for the runner's own statistics."""
        return 0


# URIs cross a shuffle, pixels never do: only these records are ever encoded.
for _record in (ListedImage, EarlierRow, Mentions, Shard):
    registry.register_coder(_record, RowCoder)
registry.register_coder(Chunk, ChunkCoder)
