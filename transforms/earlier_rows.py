"""Rows of earlier runs in the output folder, and whether they are still current."""

from collections.abc import Iterator
from typing import Any, Literal

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.pvalue import PBegin, TaggedOutput

from transforms.failures import printable
from transforms.layout import PREDICTIONS, run_of_part
from transforms.ledger import DIGESTS, LedgerLine, uri_hash
from transforms.records import EarlierRow, ListedImage
from transforms.storage import join, storage_for

_COLUMNS = ("uri", "model", "error", "retryable", "byte_size", "last_modified")


def earlier_parts(output: str, run_id: str) -> Iterator[str]:
    """Part files below `output` of every run but `run_id`, whole or killed."""
    for name in storage_for(output).names(join(output, PREDICTIONS)):
        if run_of_part(name) not in (None, run_id):
            yield f"{PREDICTIONS}/{name}"


def earlier_rows(part: str, output: str, model: str) -> Iterator[EarlierRow]:
    """The rows of one part file; `model` is that of the run that asks.

    Raises:
        OSError: the file cannot be read, or is no part file.
    """
    path = join(output, part)
    with storage_for(path).open(path) as file:
        try:
            parts = pq.ParquetFile(file, page_checksum_verification=True)
            batches = parts.iter_batches(columns=list(_COLUMNS))
            for batch in batches:
                microseconds = batch["last_modified"].cast(pa.int64())
                columns = [batch[name].to_pylist() for name in _COLUMNS[:-1]]
                for uri, made_by, error, retryable, byte_size, modified in zip(
                    *columns, microseconds.to_pylist(), strict=True
                ):
                    if uri is None:
                        raise ValueError("a row has no uri")
                    yield EarlierRow(
                        uri, part, made_by == model, error, bool(retryable), byte_size, modified
                    )
        # What Arrow raises on a damaged file depends on where the damage is.
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            raise OSError(
                f"{path} is not a part file that can be read ({printable(str(error))}): restore "
                f"it, or delete it to have its images classified again"
            ) from error


def is_current(row: EarlierRow, image: ListedImage, retry_all_errors: bool) -> bool:
    """Whether the latest row of an image still says what a new attempt would find.

    It does if the same model made it and the object has not changed, as far as both the row and
    the listing know its size and modification time. Retryable errors never are current; others
    are until `retry_all_errors`, or until the image that could not be seen can be.
    """
    if not row.is_same_model:
        return False
    if row.error is not None:
        if row.retryable or retry_all_errors:
            return False
        if row.byte_size is None and image.byte_size is not None:
            return False
    if image.failure is not None:
        return row.error == image.failure.error
    return _agree(row.byte_size, image.byte_size) and _agree(row.last_modified, image.last_modified)


class ReadEarlierRows(beam.PTransform):
    """The rows of all earlier runs; none unless the run resumes.

    Its outputs are `rows` of `EarlierRow`, and `held` of `LedgerLine`, which say for each file what
    it holds.
    """

    def __init__(self, output: str, run_id: str, model: str, resume: bool) -> None:
        """`model` is the value of the column of that name in the run that asks."""
        super().__init__()
        self._output = output
        self._run_id = run_id
        self._model = model
        self._resume = resume

    def expand(self, p: PBegin) -> Any:  # of several outputs Beam would warn
        """Lists the part files, then reads them on any worker."""
        read = beam.FlatMap(_rows_and_held, self._output, self._model)
        return (
            p
            | "Output" >> beam.Create([self._output] if self._resume else [])
            | "Parts" >> beam.FlatMap(earlier_parts, self._run_id).with_output_types(str)
            | "Spread" >> beam.Reshuffle()
            | "Rows" >> read.with_outputs("held", main="rows")
        )


def _rows_and_held(
    part: str, output: str, model: str
) -> Iterator[EarlierRow | TaggedOutput[Literal["held"], LedgerLine]]:
    rows = digest = 0
    for row in earlier_rows(part, output, model):
        yield row
        rows += 1
        digest = (digest + uri_hash(row.uri)) % DIGESTS
    yield TaggedOutput("held", LedgerLine("part", part, 0, 0, 0, held=rows, held_digest=digest))


def _agree(recorded: int | None, seen: int | None) -> bool:
    return recorded is None or seen is None or recorded == seen
