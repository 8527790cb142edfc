"""list: from inputs and manifests to one record an image."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Literal, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.pvalue import PCollection, TaggedOutput

from transforms.failures import ImageError
from transforms.layout import own_prefixes
from transforms.records import ListedImage
from transforms.storage import canonical_uri, join, storage_for
from transforms.storage.tar import list_members
from transforms.storage.uris import is_tar, tar_member

_UTF16_MARKS = ("\udcff\udcfe", "\udcfe\udcff")


class Source(NamedTuple):
    """One `--input` or `--manifest`."""

    kind: Literal["input", "manifest"]
    location: str
    column: str = "uri"


def sources_of(inputs: Sequence[str], manifests: Sequence[str], column: str) -> list[Source]:
    """Inputs and manifests, in the order given."""
    return [
        *(Source("input", location) for location in inputs),
        *(Source("manifest", location, column) for location in manifests),
    ]


def list_images(source: Source, output: str) -> Iterator[ListedImage]:
    """Every image of one source, those in tars included, without what runs wrote to `output`.

    Raises:
        OSError: a manifest cannot be read, or a remote folder cannot be listed.
        ValueError: a manifest is not what its name says, or lacks its column.
    """
    for found in find_inputs(source, output):
        yield from list_members(found) if is_tar(found.uri) else (found,)


def find_inputs(source: Source, output: str) -> Iterator[ListedImage]:
    """What one source names or holds, a tar as one input.

    Raises:
        OSError: a manifest cannot be read, or a remote folder cannot be listed.
        ValueError: a manifest is not what its name says, or lacks its column.
    """
    if source.kind == "manifest":
        for line in manifest_lines(source):
            yield ListedImage(canonical_uri(line))
        return
    root = canonical_uri(output)
    own = tuple(join(root, prefix) for prefix in own_prefixes())
    in_tar = tar_member(source.location) is not None
    for image in storage_for(source.location).find(source.location):
        if not image.uri.startswith(own):
            yield image if in_tar or tar_member(image.uri) is None else _misnamed(image)


def manifest_lines(source: Source) -> Iterator[str]:
    """The URIs of a `.txt` (one a line), `.csv` or `.parquet` manifest; blank ones left out.

    Raises:
        OSError: it cannot be read.
        ValueError: its kind is unknown, its content is of another kind, or it lacks the column;
            the message says which it has.
    """
    location = source.location
    suffix = location.rsplit(".", 1)[-1].lower()
    if suffix not in _READERS:
        raise ValueError(f"manifest {location!r} must end in .txt, .csv or .parquet")
    with storage_for(location).open(location) as file:
        try:
            yield from (uri for uri in _READERS[suffix](file, source) if uri.strip())
        except (csv.Error, pa.ArrowException) as error:
            raise ValueError(f"manifest {location!r} is not valid {suffix}: {error}") from error


class ListImages(beam.PTransform):
    """Sources to `ListedImage`s, duplicates included."""

    def __init__(self, output: str) -> None:
        """`output` is the folder of results, which are never an input."""
        super().__init__()
        self._output = output

    def expand(self, sources: PCollection[Source]) -> PCollection[ListedImage]:
        """Lists each source, and then each tar, where the workers are."""
        find = beam.FlatMap(_tars_aside, self._output).with_outputs("tars", main="images")
        images, tars = sources | "Find" >> find
        members = (
            tars
            | "SpreadTars" >> beam.Reshuffle()
            | "ListTars" >> beam.FlatMap(list_members).with_output_types(ListedImage)
        )
        return (images, members) | "Join" >> beam.Flatten()


def _tars_aside(
    source: Source, output: str
) -> Iterator[ListedImage | TaggedOutput[Literal["tars"], ListedImage]]:
    for found in find_inputs(source, output):
        yield TaggedOutput("tars", found) if is_tar(found.uri) else found


def _misnamed(image: ListedImage) -> ListedImage:
    why = "an object's whole name, but reads as that of a member of a tar: rename the object"
    return ListedImage(
        image.uri, failure=ImageError("not_found", f"{image.uri} is {why}").at("list")
    )


def _text_lines(file: BinaryIO, source: Source) -> Iterator[str]:
    with _text(file, newline="\n") as lines:
        for number, line in enumerate(lines):
            if number == 0 and line.startswith(_UTF16_MARKS):
                raise ValueError(f"manifest {source.location!r} is UTF-16: save it as UTF-8")
            yield line.rstrip("\r\n")


def _csv_column(file: BinaryIO, source: Source) -> Iterator[str]:
    with _text(file, newline="") as lines:
        rows = csv.DictReader(lines, strict=True)
        try:
            _check_column(source, rows.fieldnames or ())
            for row in rows:
                yield row[source.column] or ""
        except csv.Error as error:
            raise csv.Error(f"line {rows.reader.line_num}: {error}") from error


def _parquet_column(file: BinaryIO, source: Source) -> Iterator[str]:
    parquet = pq.ParquetFile(file)
    _check_column(source, parquet.schema_arrow.names)
    for batch in parquet.iter_batches(columns=[source.column]):
        column = batch.column(0)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if column.type not in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary()):
            raise pa.ArrowTypeError(f"column {source.column!r} holds {column.type}, not text")
        for value in column.cast(pa.large_binary()).to_pylist():
            yield (value or b"").decode("utf-8", "surrogateescape")


def _text(file: BinaryIO, newline: str) -> io.TextIOWrapper:
    """The text of a file; bytes that are not UTF-8 become surrogates, as in names of files."""
    return io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline=newline)


def _check_column(source: Source, columns: Sequence[str]) -> None:
    if source.column not in columns:
        has = f"it has {', '.join(map(repr, columns))}" if columns else "it is empty"
        raise ValueError(
            f"manifest {source.location!r} has no column {source.column!r}; "
            f"{has}: choose one with --manifest-column"
        )


_READERS = {"txt": _text_lines, "csv": _csv_column, "parquet": _parquet_column}
