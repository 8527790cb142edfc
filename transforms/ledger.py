"""What must be on disk in the end: written by the pipeline itself, before the first image."""

import hashlib
import json
from collections.abc import Iterable
from typing import NamedTuple

import apache_beam as beam
from apache_beam.coders import RowCoder
from apache_beam.coders.typecoders import registry
from apache_beam.pvalue import PCollection
from apache_beam.transforms import combiners

from transforms.layout import ledger_name
from transforms.storage import join, storage_for

DIGESTS = 2**63  # how many there are: the coder of a row takes signed integers of 64 bits


class LedgerLine(NamedTuple):
    """Distinct images of one bucket, shard or earlier part file.

    A `bucket` is what was listed; it is made up of each `shard` that the run has to write, and of
    rows in each `part` of earlier runs that are current and so skipped. `digest` is that of the
    URIs, `duplicates` how often one of them was named again; `errors` counts the current rows of
    a part that have no prediction. `held` rows are in that part altogether, current or not, and
    `held_digest` is that of their URIs.
    """

    kind: str  # bucket, shard or part
    name: str
    images: int
    duplicates: int
    digest: int
    errors: int = 0
    held: int = 0
    held_digest: int = 0


registry.register_coder(LedgerLine, RowCoder)


def uri_hash(uri: str) -> int:
    """A 64-bit hash of a URI, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(uri.encode(), digest_size=8).digest(), "big")


def uri_digest(uris: Iterable[str]) -> int:
    """A 63-bit sum that two lists of distinct URIs share only if they hold the same ones."""
    return sum(map(uri_hash, uris)) % DIGESTS


def add_lines(lines: Iterable[LedgerLine]) -> LedgerLine:
    """One line for several of the same kind and name, whose images are distinct."""
    first, *others = lines
    for line in others:
        first = first._replace(
            images=first.images + line.images,
            duplicates=first.duplicates + line.duplicates,
            digest=(first.digest + line.digest) % DIGESTS,
            errors=first.errors + line.errors,
            held=first.held + line.held,
            held_digest=(first.held_digest + line.held_digest) % DIGESTS,
        )
    return first


def write_ledger(lines: Iterable[LedgerLine], output: str, run_id: str) -> str:
    """Puts all lines with images in place as one file of JSON lines; its name below `output`."""
    counted = sorted(line for line in lines if line.images)
    text = "".join(json.dumps(line._asdict()) + "\n" for line in counted)
    name = ledger_name(run_id)
    storage_for(output).write(output, name, text.encode())
    return name


def read_ledger(output: str, run_id: str) -> list[LedgerLine]:
    """The lines that `write_ledger` wrote.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError, TypeError: it is no ledger.
    """
    path = join(output, ledger_name(run_id))
    with storage_for(path).open(path) as file:
        return [LedgerLine(**json.loads(line)) for line in file.read().splitlines()]


class WriteLedger(beam.PTransform):
    """`LedgerLine`s to the ledger, whose name comes out once it is on disk."""

    def __init__(self, output: str, run_id: str) -> None:
        """`output` is the folder of results."""
        super().__init__()
        self._output = output
        self._run_id = run_id

    def expand(self, lines: PCollection[LedgerLine]) -> PCollection[str]:
        """Gathers the lines, one a shard, and writes them as one file."""
        return (
            lines
            | "Key" >> beam.WithKeys(_key).with_output_types(tuple[str, LedgerLine])
            | "Group" >> beam.GroupByKey()
            | "Add" >> beam.MapTuple(lambda _, same: add_lines(same))
            | "Gather" >> combiners.ToList()
            | "Write" >> beam.Map(write_ledger, self._output, self._run_id).with_output_types(str)
        )


def _key(line: LedgerLine) -> str:
    return f"{line.kind} {line.name}"
