"""What must be on disk in the end: a line a shard, written by the pipeline itself."""

import json
from collections.abc import Iterable
from typing import NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.transforms import combiners

from transforms.cut_shards import uri_digest
from transforms.records import Shard
from transforms.storage import storage_for

# Folders below the output folder: what each run was to do, and what became of it.
LEDGERS, RUNS = "ledger", "runs"


class LedgerLine(NamedTuple):
    """A shard as it was cut: `digest` is `uri_digest` of its images."""

    shard: str
    images: int
    duplicates: int
    digest: int


def ledger_name(run_id: str) -> str:
    """The ledger's file below the output folder."""
    return f"{LEDGERS}/{run_id}.jsonl"


def run_name(run_id: str) -> str:
    """The run's own file below the output folder."""
    return f"{RUNS}/{run_id}.json"


def ledger_line(shard: Shard) -> LedgerLine:
    """What the ledger keeps of a shard."""
    digest = uri_digest([image.uri for image in shard.images])
    return LedgerLine(shard.name, len(shard.images), shard.duplicates, digest)


def write_ledger(lines: Iterable[LedgerLine], output: str, run_id: str) -> None:
    """Puts all lines in place as one file of JSON lines."""
    text = "".join(json.dumps(line._asdict()) + "\n" for line in sorted(lines))
    storage_for(output).write(output, ledger_name(run_id), text.encode())


class WriteLedger(beam.PTransform):
    """`Shard`s to the ledger."""

    def __init__(self, output: str, run_id: str) -> None:
        """`output` is the folder of results."""
        super().__init__()
        self._output = output
        self._run_id = run_id

    def expand(self, shards: PCollection[Shard]) -> PCollection[None]:
        """Gathers one line a shard, a few tens of bytes for thousands of images."""
        return (
            shards
            | "Line" >> beam.Map(ledger_line)
            | "Gather" >> combiners.ToList()
            | "Write" >> beam.Map(write_ledger, self._output, self._run_id)
        )
