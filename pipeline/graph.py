"""The graph, on one screen."""

from operator import attrgetter

import apache_beam as beam
from apache_beam.pvalue import PCollection

from pipeline.config import Config
from pipeline.dataflow.options import accelerator_hint, has_siblings
from transforms.classify_images import ClassifyImages
from transforms.cut_shards import CutShards, slots
from transforms.decode_images import DecodeImages, Preprocessing
from transforms.earlier_rows import ReadEarlierRows
from transforms.ledger import LedgerLine, WriteLedger
from transforms.list_images import ListImages, Source
from transforms.models.artifact import Artifact
from transforms.models.resolve import kept_classes
from transforms.read_images import ReadImages
from transforms.records import Shard, Slot, WrittenShard
from transforms.write_shards import WriteShards


def build(
    p: beam.Pipeline, config: Config, artifact: Artifact, run_id: str
) -> PCollection[WrittenShard]:
    """List, cut into shards, and from there on one fused stage: read, decode, classify, write."""
    listed = (
        p
        | "Sources" >> beam.Create(config.sources()).with_output_types(Source)
        | "List" >> ListImages(config.output)
    )
    earlier = p | "Earlier" >> ReadEarlierRows(config.output, run_id, artifact.model, config.resume)
    cut = CutShards(earlier, config.shard_size, config.retry_all_errors)
    buckets = listed | "Cut" >> cut
    _ = (
        buckets
        | "Lines" >> beam.FlatMap(attrgetter("lines")).with_output_types(LedgerLine)
        | "WriteLedger" >> WriteLedger(config.output, run_id)
    )
    accelerator = accelerator_hint(config)
    hints = {"accelerator": accelerator} if accelerator else {}
    return (
        buckets
        | "Shards" >> beam.FlatMap(attrgetter("shards")).with_output_types(Shard)
        | "Spread" >> beam.Reshuffle()
        | "Label" >> LabelShards(config, artifact, run_id).with_resource_hints(**hints)
    )


class LabelShards(beam.PTransform):
    """`Shard`s to files: the stage that a GPU is for, so pixels never leave its process."""

    def __init__(self, config: Config, artifact: Artifact, run_id: str) -> None:
        """See `build`."""
        super().__init__()
        self._config = config
        self._artifact = artifact
        self._run_id = run_id

    def expand(self, shards: PCollection[Shard]) -> PCollection[WrittenShard]:
        """Read, decode, classify, write."""
        config, artifact = self._config, self._artifact
        preprocessing = Preprocessing(artifact.image_size, config.resize, config.max_pixels)
        top_k = kept_classes(config.top_k, len(artifact.labels))
        return (
            shards
            | "Slots" >> beam.FlatMap(slots).with_output_types(Slot)
            | "Read" >> ReadImages(config.max_bytes)
            | "Decode" >> DecodeImages(preprocessing)
            | "Classify" >> ClassifyImages(artifact, top_k, config.batch_size, has_siblings(config))
            | "Write" >> WriteShards(config.output, self._run_id, artifact.labels, artifact.model)
        )
