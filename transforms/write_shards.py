"""write: a shard's rows as one Parquet file, put in place when the last of them is there."""

import contextlib
from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.pvalue import PCollection

from transforms.layout import part_name
from transforms.metrics import BYTES_READ, PREDICTED, count
from transforms.models.labels import Label
from transforms.records import ClassifiedImage, WrittenShard
from transforms.schema import parquet_bytes, row_of
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

    def process(self, image: ClassifiedImage) -> Iterator[WrittenShard]:
        """Takes one row; writes its shard if it was the last."""
        name, size = image.slot.shard, image.slot.shard_size
        images = self._under_way.setdefault(name, [])
        images.append(image)
        count(image.failure.error if image.failure else PREDICTED)
        if image.failure is None or image.failure.stage in ("decode", "classify"):
            count(BYTES_READ, image.slot.image.byte_size or 0)
        if len(images) == size:
            del self._under_way[name]
            rows = [row_of(each, self._labels, self._model) for each in images]
            content = parquet_bytes(rows)
            # Where nothing may be replaced, what is there is the same shard, written before.
            with contextlib.suppress(NotReplacedError):
                write = storage_for(self._output).write
                write(self._output, part_name(name, self._run_id), content)
            yield WrittenShard(name, size)

    def finish_bundle(self) -> None:
        """Raises RuntimeError if a row of a shard never came."""
        for name, images in self._under_way.items():
            rows, size = len(images), images[0].slot.shard_size
            raise RuntimeError(f"the bundle ended with {rows} of the {size} rows of shard {name}")


class WriteShards(beam.PTransform):
    """`ClassifiedImage`s to files."""

    def __init__(self, output: str, run_id: str, labels: Sequence[Label], model: str) -> None:
        """See `WriteShard`."""
        super().__init__()
        self._writer = WriteShard(output, run_id, labels, model)

    def expand(self, classified: PCollection[ClassifiedImage]) -> PCollection[WrittenShard]:
        """Writes where the rows are."""
        return classified | beam.ParDo(self._writer).with_output_types(WrittenShard)
