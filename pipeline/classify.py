"""`python -m pipeline.classify`: photographs in, names out, without Beam and without files.

Each image goes through the same functions as in `pipeline.run` and its row has the same values.

Exit codes: 0 every image has its names; 1 some have not, their rows say why; 2 wrong usage or a
model that cannot be, found before anything ran.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import click

from pipeline.console.command import LOCATION, options_from
from pipeline.console.print_rows import Format, Share, print_rows
from pipeline.console.reading_command import reading_command
from pipeline.options import NetworkOptions, RunOptions, UsageError
from transforms.classify_images import classify_images
from transforms.cores import available_cores
from transforms.decode_images import Preprocessing, decode_fetched
from transforms.engines import Engine, load_engine
from transforms.failures import ImageError
from transforms.models.artifact import Artifact
from transforms.models.publish import engine_setup
from transforms.models.resolve import kept_classes, resolve_model
from transforms.read_images import read_image, with_content
from transforms.records import DecodedImage, FetchedImage, ListedImage, Slot
from transforms.schema import SCHEMA, table_of
from transforms.storage import Content, canonical_uri, check_scheme, is_local, too_many_bytes
from transforms.storage.billing import bill_to
from transforms.storage.uris import local_path

Row = dict[str, Any]

_PROG: Final = "python -m pipeline.classify"
_EXAMPLES: Final = f"""Examples:
  {_PROG} cat.jpg
  {_PROG} photos/*.jpg --top-k 1 --csv > names.csv
  {_PROG} gs://bucket/cat.jpg --json | jq -r '.[].label'
  curl -s https://example.org/cat.jpg | {_PROG} -

Exit codes: 0 every image has its names; 1 some have not, their rows say why; 2 wrong usage."""
_STANDARD_INPUT: Final = "-"
_FAILED: Final = 1
_COLUMNS: Final = ("image", "label", "score", "error")
_CSV_COLUMNS: Final = (
    *("uri", "rank", "class_index", "wnid", "label", "score"),
    *("error", "error_message"),
)


@reading_command(_EXAMPLES)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=LOCATION)
@options_from(NetworkOptions)
@click.pass_context
def main(context: click.Context, /, images: tuple[str, ...], format: Format, **given: Any) -> None:
    """Name what is on photographs: files, gs:// objects, or - for standard input.

    The model, the decoding and the values are those of python -m pipeline.run, which is for
    folders and for more images than fit on a command line. With --json a row is the one that a
    run would write.
    """
    options = NetworkOptions(**given)
    _check(images)
    bill_to(options.billing_project)
    artifact = resolve_model(options.model_choice(), _say)
    for note in artifact.notes:
        _say(note)
    failed = 0

    def counted() -> Iterator[Row]:
        nonlocal failed
        for row in classified(images, options, artifact):
            failed += row["error"] is not None
            yield row

    _print(images, counted(), format)
    context.exit(_FAILED if failed else 0)


def _say(line: str) -> None:
    click.echo(line, err=True)


def classified(images: Sequence[str], options: NetworkOptions, artifact: Artifact) -> Iterator[Row]:
    """The row of each image as a run would write it, in order; `-` is standard input."""
    size = min(len(images), RunOptions.batch_size)
    top_k = kept_classes(options.top_k, len(artifact.labels))
    preprocessing = Preprocessing(artifact.image_size, options.resize, options.max_pixels)
    decode = partial(_decoded, preprocessing=preprocessing, max_bytes=options.max_bytes)
    engine = load_engine(engine_setup(artifact, top_k, size, available_cores()))
    with ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(images), size):
            decoded = list(pool.map(decode, images[start : start + size]))
            yield from _rows(decoded, artifact, engine)


def _rows(decoded: Sequence[DecodedImage], artifact: Artifact, engine: Engine) -> list[Row]:
    rows = classify_images(decoded, engine)
    return table_of(rows, artifact.labels, artifact.model).to_pylist()


def _decoded(name: str, preprocessing: Preprocessing, max_bytes: int) -> DecodedImage:
    is_piped = name == _STANDARD_INPUT
    slot = Slot("", 1, ListedImage(name if is_piped else canonical_uri(name)))
    read = _read_standard_input if is_piped else read_image
    return decode_fetched(read(slot, max_bytes), preprocessing)


def _read_standard_input(slot: Slot, max_bytes: int) -> FetchedImage:
    data = sys.stdin.buffer.read(max_bytes + 1)
    if len(data) > max_bytes:
        error: ImageError = too_many_bytes("standard input", None, max_bytes)
        return FetchedImage(slot, None, error.at("read"))
    return with_content(slot, Content(data, None))


def _check(images: Sequence[str]) -> None:
    if images.count(_STANDARD_INPUT) > 1:
        raise UsageError("- is given twice, but standard input holds one image")
    for name in images:
        try:
            check_scheme(name)
        except OSError as error:
            raise UsageError(f"{name!r} cannot be read: {error}") from error
        if _is_unexpanded(name):
            raise UsageError(
                f"{name!r} is no file, but a glob that the shell left as it is: it matches "
                "nothing or was quoted; python -m pipeline.run --input takes globs itself"
            )
        if is_local(name) and os.path.isdir(local_path(name)):
            raise UsageError(
                f"{name!r} is a folder; give its images, or classify all of it with "
                f"python -m pipeline.run --input {name} --output FOLDER"
            )


def _is_unexpanded(name: str) -> bool:
    """Whether it is a glob of local files rather than the name of one."""
    path = local_path(name)
    # Brackets alone stand in many names of files.
    return is_local(name) and not {"*", "?"}.isdisjoint(path) and not os.path.lexists(path)


def _print(names: Sequence[str], rows: Iterator[Row], format: Format) -> None:
    if format in ("json", "ndjson"):
        print_rows(SCHEMA.names, (list(row.values()) for row in rows), format)
    elif format == "csv":
        print_rows(_CSV_COLUMNS, _csv_rows(rows), format)
    else:
        all_rows = list(rows)
        columns = _COLUMNS if any(row["error"] for row in all_rows) else _COLUMNS[:-1]
        print_rows(columns, [row[: len(columns)] for row in _table_rows(names, all_rows)], format)


def _csv_rows(rows: Iterator[Row]) -> Iterator[list[Any]]:
    for row in rows:
        if row["error"]:
            yield [row["uri"], *[None] * 5, row["error"], row["error_message"]]
        for rank, best in enumerate(row["top_k"] or (), start=1):
            yield [row["uri"], rank, *best.values(), None, None]


def _table_rows(names: Sequence[str], rows: Sequence[Row]) -> Iterator[list[Any]]:
    for name, row in zip(names, rows, strict=True):
        if row["error"]:
            yield [name, None, None, f"{row['error']}: {row['error_message']}"]
        for rank, best in enumerate(row["top_k"] or ()):
            yield [None if rank else name, best["label"], Share(best["score"]), None]


if __name__ == "__main__":
    main(prog_name=_PROG)
