"""The graph, on one screen."""

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsSingleton, PCollection

from transforms.chunks import chunks
from transforms.classify_images import ClassifyImages
from transforms.cut_shards import CutShards
from transforms.decode_images import DecodeImages, Preprocessing
from transforms.earlier_rows import ReadEarlierRows
from transforms.ledger import LedgerLine, WriteLedger
from transforms.list_images import ListImages, Source
from transforms.models.artifact import Artifact
from transforms.read_images import ReadImages
from transforms.records import Chunk, Shard, WrittenShard
from transforms.write_shards import WriteShards


class Result(NamedTuple):
    """Where the rows go, and for which of the images there are rows already."""

    output: str
    run_id: str
    shard_size: int  # rows in one file
    resume: bool  # leave out what has a current row from an earlier run
    retry_all_errors: bool  # of these rows, count none with an error as current


class Labelling(NamedTuple):
    """How an image becomes a row."""

    artifact: Artifact
    preprocessing: Preprocessing
    max_bytes: int
    top_k: int
    batch_size: int


def build(
    p: beam.Pipeline,
    sources: Sequence[Source],
    labelling: Labelling,
    result: Result,
    siblings: bool = False,
    accelerator: str | None = None,
) -> PCollection[WrittenShard]:
    """List, cut into shards, and from there on one fused stage: read, decode, classify, write.

    `siblings` says that the runner starts several processes on a machine; `accelerator` is the
    resource hint of the stage that classifies.
    """
    output, run_id, model = result.output, result.run_id, labelling.artifact.model
    listed = (
        p
        | "Sources" >> beam.Create(sources).with_output_types(Source)
        | "List" >> ListImages(output)
    )
    earlier = p | "Earlier" >> ReadEarlierRows(output, run_id, model, result.resume)
    cut = CutShards(earlier.rows, result.shard_size, result.retry_all_errors)
    buckets = listed | "Cut" >> cut
    lines = buckets | "Lines" >> beam.FlatMap(attrgetter("lines")).with_output_types(LedgerLine)
    ledger = (
        (lines, earlier.held)
        | "AllLines" >> beam.Flatten()
        | "WriteLedger" >> WriteLedger(output, run_id)
    )
    hints = {"accelerator": accelerator} if accelerator else {}
    label = LabelShards(labelling, output, run_id, siblings, ledger).with_resource_hints(**hints)
    return (
        buckets
        | "Shards" >> beam.FlatMap(attrgetter("shards")).with_output_types(Shard)
        | "Spread" >> beam.Reshuffle()
        | "Label" >> label
    )


class LabelShards(beam.PTransform):
    """`Shard`s to files: the stage that a GPU is for, so pixels never leave its process."""

    def __init__(
        self,
        labelling: Labelling,
        output: str,
        run_id: str,
        siblings: bool,
        ledger: PCollection[str],
    ) -> None:
        """See `build`; no image is read before the `ledger` is on disk."""
        super().__init__()
        self._labelling = labelling
        self._place = output, run_id
        self._siblings = siblings
        self._ledger = ledger

    def expand(self, shards: PCollection[Shard]) -> PCollection[WrittenShard]:
        """Read, decode, classify, write."""
        artifact, preprocessing, max_bytes, top_k, batch_size = self._labelling
        return (
            shards
            | "Chunks" >> beam.FlatMap(chunks, AsSingleton(self._ledger)).with_output_types(Chunk)
            | "Read" >> ReadImages(max_bytes)
            | "Decode" >> DecodeImages(preprocessing)
            | "Classify" >> ClassifyImages(artifact, top_k, batch_size, self._siblings)
            | "Write" >> WriteShards(*self._place, artifact.labels, artifact.model)
        )
