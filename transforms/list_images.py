"""list: from what the user named to one record an image."""

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO, Literal, NamedTuple

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.pvalue import PCollection

from transforms.records import ListedImage
from transforms.storage import canonical_uri, is_local, storage_for


class Source(NamedTuple):
    """One `--input` or `--manifest` of the user's."""

    kind: Literal["input", "manifest"]
    location: str
    column: str = "uri"


def list_images(source: Source, output: str) -> Iterator[ListedImage]:
    """Every image of one source, `output`'s own files left out.

    Raises:
        OSError: a manifest cannot be read.
        ValueError: a manifest lacks its column.
    """
    if source.kind == "manifest":
        for line in manifest_lines(source):
            yield ListedImage(canonical_uri(line))
        return
    own = _own_prefix(output)
    for image in storage_for(source.location).find(source.location):
        if not image.uri.startswith(own):
            yield image


def manifest_lines(source: Source) -> Iterator[str]:
    """The URIs of a `.txt` (one a line), `.csv` or `.parquet` manifest; empty ones left out.

    Raises:
        OSError: it cannot be read.
        ValueError: its kind is unknown or it lacks the column; the message says which it has.
    """
    location = source.location
    suffix = location.rsplit(".", 1)[-1].lower()
    if suffix not in _READERS:
        raise ValueError(f"manifest {location!r} must end in .txt, .csv or .parquet")
    with storage_for(location).open(location) as file:
        yield from (uri for uri in _READERS[suffix](file, source) if uri)


class ListImages(beam.PTransform):
    """Sources to `ListedImage`s, duplicates included."""

    def __init__(self, output: str) -> None:
        """`output` is the folder of results, which is never an input."""
        super().__init__()
        self._output = output

    def expand(self, sources: PCollection[Source]) -> PCollection[ListedImage]:
        """Lists each source where the workers are."""
        return sources | beam.FlatMap(list_images, self._output).with_output_types(ListedImage)


def _own_prefix(output: str) -> str:
    return canonical_uri(output).rstrip("/") + "/" if is_local(output) else output + "/"


def _text_lines(file: BinaryIO, source: Source) -> Iterator[str]:
    for line in io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="\n"):
        yield line.rstrip("\r\n")


def _csv_column(file: BinaryIO, source: Source) -> Iterator[str]:
    rows = csv.DictReader(io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline=""))
    _check_column(source, rows.fieldnames or ())
    for row in rows:
        yield row[source.column] or ""


def _parquet_column(file: BinaryIO, source: Source) -> Iterator[str]:
    parquet = pq.ParquetFile(file)
    _check_column(source, parquet.schema_arrow.names)
    for batch in parquet.iter_batches(columns=[source.column]):
        for value in batch.column(0).to_pylist():
            yield "" if value is None else str(value)


def _check_column(source: Source, columns: object) -> None:
    names = list(columns)  # type: ignore[call-overload]  # csv and pyarrow name different types
    if source.column not in names:
        raise ValueError(
            f"manifest {source.location!r} has no column {source.column!r}; "
            f"it has {', '.join(map(repr, names))}: choose one with --manifest-column"
        )


_READERS = {"txt": _text_lines, "csv": _csv_column, "parquet": _parquet_column}
