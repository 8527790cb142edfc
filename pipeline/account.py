"""The account of a run: what was listed against what lies on disk."""

import json
from collections import Counter
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.cut_shards import uri_digest
from transforms.failures import printable
from transforms.ledger import LedgerLine, ledger_name, run_name
from transforms.storage import join, storage_for
from transforms.write_shards import part_name, run_folder


class PartFile(NamedTuple):
    """One file as it was read back."""

    path: str  # below the output folder
    rows: int


class Account(NamedTuple):
    """Images of one run: listed = predicted + failed + skipped, unless `differences` says how not.

    `listed` are distinct; `duplicates` counts how often one of them was named again.
    """

    listed: int
    duplicates: int
    predicted: int
    failed: int
    skipped: int
    errors: dict[str, int]  # failed, by reason
    files: tuple[PartFile, ...]
    differences: tuple[str, ...]

    @property
    def failure_rate(self) -> float:
        """Failed among the images tried, 0..1."""
        tried = self.predicted + self.failed
        return self.failed / tried if tried else 0.0


def read_account(output: str, run_id: str) -> Account:
    """Reads the ledger and every part file of a run, and compares them by count and by URI.

    Raises:
        OSError: the ledger cannot be read.
    """
    errors: Counter[str] = Counter()
    files, differences = [], []
    lines = _ledger_lines(output, run_id)
    folder = run_folder(run_id)
    there = {join(folder, name) for name in storage_for(output).names(join(output, folder))}
    for line in lines:
        name = part_name(line.shard, run_id)
        if name not in there:
            differences.append(f"{name} with {line.images:,} images is missing")
            continue
        there.remove(name)
        try:
            uris, reasons = _read_part(join(output, name))
        except (OSError, KeyError, pa.ArrowException) as error:
            differences.append(f"{name} cannot be read: {printable(str(error))}")
            continue
        errors.update(reasons)
        files.append(PartFile(name, len(uris)))
        differences += _differences(name, uris, line)
    differences += [f"{printable(name)} belongs to no shard" for name in sorted(there)]
    failed = errors.total()
    return Account(
        listed=sum(line.images for line in lines),
        duplicates=sum(line.duplicates for line in lines),
        predicted=sum(file.rows for file in files) - failed,
        failed=failed,
        skipped=0,
        errors=dict(errors.most_common()),
        files=tuple(files),
        differences=tuple(differences),
    )


def write_run(output: str, run_id: str, facts: dict[str, Any]) -> None:
    """Writes runs/<run>.json, by which readers know that the run is complete."""
    text = json.dumps({"run_id": run_id, **facts}, indent=2)
    storage_for(output).write(output, run_name(run_id), text.encode())


def _differences(name: str, uris: list[str], line: LedgerLine) -> list[str]:
    rows, distinct = len(uris), len(set(uris))
    if not rows == distinct == line.images:
        return [f"{name} holds {rows:,} rows of {distinct:,} images instead of {line.images:,}"]
    if uri_digest(uris) != line.digest:
        return [f"{name} holds other images than those listed"]
    return []


def _ledger_lines(output: str, run_id: str) -> list[LedgerLine]:
    path = join(output, ledger_name(run_id))
    with storage_for(path).open(path) as file:
        return [LedgerLine(**json.loads(line)) for line in file.read().splitlines()]


def _read_part(path: str) -> tuple[list[str], list[str]]:
    with storage_for(path).open(path) as file:
        table = pq.ParquetFile(file).read(columns=["uri", "error"])
    return table["uri"].to_pylist(), pc.drop_null(table["error"]).to_pylist()
