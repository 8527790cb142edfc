"""The account of a run: whether what lies on disk is what was listed.

The ledger says what has to be there, the account whether it is; metrics count what a run does.
"""

import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.failures import printable
from transforms.layout import part_name, run_folder, run_name
from transforms.ledger import DIGESTS, LedgerLine, read_ledger, uri_digest
from transforms.storage import join, storage_for

_THREADS = 16  # part files read at once: on an object store each takes a tenth of a second


class PartFile(NamedTuple):
    """A file of this run."""

    path: str  # below the output folder
    rows: int


class Account(NamedTuple):
    """Images of one run: listed = predicted + failed + skipped, unless `differences` says how not.

    `listed` are distinct; `duplicates` counts how often one of them was named again. `skipped`
    have a current row from an earlier run, which for `skipped_errors` of them is no prediction.
    """

    listed: int
    duplicates: int
    predicted: int
    failed: int
    skipped: int
    errors: dict[str, int]  # failed, by reason
    files: tuple[PartFile, ...]
    differences: tuple[str, ...]
    skipped_errors: int = 0

    @property
    def failure_rate(self) -> float:
        """Failed among the images tried, 0..1."""
        tried = self.predicted + self.failed
        return self.failed / tried if tried else 0.0


def read_account(output: str, run_id: str, began_meanwhile: Sequence[str] = ()) -> Account:
    """Reads the ledger and every part file it names, and compares them by count and by URI.

    `began_meanwhile` are other runs into `output`, which may have done the same images.

    Raises:
        OSError: the ledger cannot be read.
    """
    lines = read_ledger(output, run_id)
    files = {_file_of(line, run_id): line for line in lines if line.kind != "bucket"}
    folder = run_folder(run_id)
    there = {join(folder, name) for name in storage_for(output).names(join(output, folder))}
    with ThreadPoolExecutor(_THREADS) as pool:
        parts = list(pool.map(partial(_read_part, output), files))
    differences = _cut_differences(lines)
    errors: Counter[str] = Counter()
    own, skipped = [], 0
    for (name, line), part in zip(files.items(), parts, strict=True):
        differences += _differences(name, line, part)
        if line.kind == "part":
            skipped += line.images if part.problem is None else 0
        elif part.problem is None:
            own.append(PartFile(name, part.rows))
            errors.update(part.errors)
    extra = sorted(there - files.keys())
    differences += [f"{printable(name)} belongs to no shard" for name in extra]
    differences += [
        f"{other} wrote here at the same time: an image may have a row of each, of which that of "
        f"{max(other, run_id)} is current"
        for other in began_meanwhile
    ]
    failed = errors.total()
    return Account(
        listed=sum(line.images for line in lines if line.kind == "bucket"),
        duplicates=sum(line.duplicates for line in lines),
        predicted=sum(file.rows for file in own) - failed,
        failed=failed,
        skipped=skipped,
        errors=dict(errors.most_common()),
        files=tuple(own),
        differences=tuple(differences),
        skipped_errors=sum(line.errors for line in lines),
    )


def write_run(output: str, run_id: str, facts: dict[str, Any]) -> None:
    """Writes runs/<run>.json, by which readers know that the run is complete."""
    text = json.dumps({"run_id": run_id, **facts}, indent=2)
    storage_for(output).write(output, run_name(run_id), text.encode())


class _Part(NamedTuple):
    """What a part file holds, or the `problem` why that is not known."""

    digest: int
    rows: int
    distinct: int
    errors: Counter[str]
    problem: str | None


def _file_of(line: LedgerLine, run_id: str) -> str:
    return part_name(line.name, run_id) if line.kind == "shard" else line.name


def _read_part(output: str, name: str) -> _Part:
    path = join(output, name)
    try:
        with storage_for(path).open(path) as file:
            part = pq.ParquetFile(file, page_checksum_verification=True)
            table = part.read(columns=["uri", "error"])
        uris = table["uri"].to_pylist()
        errors = Counter(pc.drop_null(table["error"]).to_pylist())
        return _Part(uri_digest(uris), len(uris), len(set(uris)), errors, None)
    except FileNotFoundError:
        problem = "is missing"
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        problem = f"cannot be read: {printable(str(error))}"
    return _Part(0, 0, 0, Counter(), problem)


def _cut_differences(lines: Sequence[LedgerLine]) -> list[str]:
    """Whether shards and skipped rows are together what was listed."""
    listed = [line for line in lines if line.kind == "bucket"]
    cut = [line for line in lines if line.kind != "bucket"]
    images, others = sum(line.images for line in listed), sum(line.images for line in cut)
    if images != others:
        return [f"{others:,} of the {images:,} images listed are in a shard or an earlier file"]
    if _digest(listed) != _digest(cut):
        return ["the shards and the earlier files hold other images than those listed"]
    return []


def _digest(lines: Sequence[LedgerLine]) -> int:
    return sum(line.digest for line in lines) % DIGESTS


def _differences(name: str, line: LedgerLine, part: _Part) -> list[str]:
    """How a file differs from its line; an earlier file must hold what this run read in it."""
    if part.problem is not None:
        return [f"{name} with {line.images:,} images {part.problem}"]
    images, digest = line.images, line.digest
    if line.kind == "part":
        images, digest = line.held, line.held_digest
    if not part.rows == part.distinct == images:
        return [
            f"{name} holds {part.rows:,} rows of {part.distinct:,} images instead of {images:,}"
        ]
    if part.digest != digest:
        expected = "when this run read it" if line.kind == "part" else "those listed"
        return [f"{name} holds other images than {expected}"]
    return []
