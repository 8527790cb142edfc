"""The graph, on one screen."""

import apache_beam as beam
from apache_beam.pvalue import PCollection

from pipeline.config import Config
from transforms.classify_images import ClassifyImages
from transforms.cut_shards import CutShards, slots
from transforms.decode_images import DecodeImages, Preprocessing
from transforms.ledger import WriteLedger
from transforms.list_images import ListImages, Source
from transforms.models.artifact import Artifact
from transforms.read_images import ReadImages
from transforms.records import Slot, WrittenShard
from transforms.write_shards import WriteShards


def build(
    p: beam.Pipeline, config: Config, artifact: Artifact, run_id: str
) -> PCollection[WrittenShard]:
    """List, read, decode, classify, write; from `Read` to `Write` is one fused stage."""
    preprocessing = Preprocessing(artifact.image_size, config.resize, config.max_pixels)
    shards = (
        p
        | "Sources" >> beam.Create(config.sources()).with_output_types(Source)
        | "List" >> ListImages(config.output)
        | "CutShards" >> CutShards(config.shard_size)
    )
    _ = shards | "WriteLedger" >> WriteLedger(config.output, run_id)
    return (
        shards
        | "Spread" >> beam.Reshuffle()
        | "Slots" >> beam.FlatMap(slots).with_output_types(Slot)
        | "Read" >> ReadImages(config.max_bytes)
        | "Decode" >> DecodeImages(preprocessing)
        | "Classify" >> ClassifyImages(artifact, config.top_k, config.batch_size)
        | "Write" >> WriteShards(config.output, run_id, artifact.labels, artifact.model)
    )
