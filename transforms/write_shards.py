"""write: a shard's rows as one Parquet file, put in place when the last of them is there."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

import apache_beam as beam
from apache_beam.pvalue import PCollection

from transforms.layout import part_name
from transforms.metrics import BYTES_READ, PREDICTED, count
from transforms.models.labels import Label
from transforms.records import Chunk, ClassifiedImage, WrittenShard
from transforms.schema import parquet_bytes, table_of
from transforms.storage import NotReplacedError, storage_for


class WriteShard(beam.DoFn):
    """Gathers rows by shard and writes each shard once it is whole.

    A shard's images come from one element of one bundle and never leave its fused stage, so a
    bundle that ends with an incomplete shard has lost something.
    """

    def __init__(self, output: str, run_id: str, labels: Sequence[Label], model: str) -> None:
        """`labels` by class index; `model` is the value of the column of that name."""
        self._output = output
        self._run_id = run_id
        self._labels = labels
        self._model = model

    def start_bundle(self) -> None:
        """No shard is under way."""
        self._under_way: dict[str, list[ClassifiedImage]] = {}

    def process(self, batch: Chunk) -> Iterator[WrittenShard]:
        """Takes the rows of a batch; writes the shards whose last one is among them."""
        _count(batch)
        for name, rows in groupby(batch, lambda image: image.slot.shard):
            images = self._under_way.setdefault(name, [])
            images.extend(rows)
            if len(images) == images[0].slot.shard_size:
                del self._under_way[name]
                content = parquet_bytes(table_of(images, self._labels, self._model))
                # Where nothing may be replaced, what is there is the same shard, written before.
                with contextlib.suppress(NotReplacedError):
                    write = storage_for(self._output).write
                    write(self._output, part_name(name, self._run_id), content)
                yield WrittenShard(name, len(images))

    def finish_bundle(self) -> None:
        """Raises RuntimeError if a row of a shard never came."""
        for name, images in self._under_way.items():
            rows, size = len(images), images[0].slot.shard_size
            raise RuntimeError(f"the bundle ended with {rows} of the {size} rows of shard {name}")


class WriteShards(beam.PTransform):
    """Batches of `ClassifiedImage`s to files."""

    def __init__(self, output: str, run_id: str, labels: Sequence[Label], model: str) -> None:
        """See `WriteShard`."""
        super().__init__()
        self._writer = WriteShard(output, run_id, labels, model)

    def expand(self, classified: PCollection[Chunk]) -> PCollection[WrittenShard]:
        """Writes where the rows are."""
        return classified | beam.ParDo(self._writer).with_output_types(WrittenShard)


def _count(batch: Sequence[ClassifiedImage]) -> None:
    """What became of the images, and the bytes of those that were read."""
    ends = Counter(image.failure.error if image.failure else PREDICTED for image in batch)
    for end, images in ends.items():
        count(end, images)
    read = [
        image.slot.image.byte_size or 0
        for image in batch
        if image.failure is None or image.failure.stage in ("decode", "classify")
    ]
    if read:
        count(BYTES_READ, sum(read))
