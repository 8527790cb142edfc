"""Rows on standard output, the same five ways in every command that reads."""

import contextlib
import csv
import errno
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal, NoReturn

import click

from pipeline.console.lay_out_table import Rows, Share, cell, lay_out_table, plain

__all__ = ["Format", "Rows", "Share", "format_options", "print_rows", "print_text"]

Format = Literal["table", "json", "ndjson", "csv", "markdown"]

_HELP: Final[dict[Format, str]] = {
    "table": "Aligned columns for reading; the default.",
    "json": "One JSON array.",
    "ndjson": "One JSON object a line.",
    "csv": "Comma-separated values with a header.",
    "markdown": "A Markdown table.",
}
_GIVEN: Final = "mobilenet_beam.formats"
# What Markdown takes for markup; an underscore within a word means nothing to it.
_MARKUP: Final = re.compile(r"[\\|<&`*\[\]~]|(?<!\w)_|_(?!\w)")
_ESCAPED: Final = r"\\\g<0>"


class _FormatOption(click.Option):
    group = "Format"  # its heading in the help of a `GroupedCommand`


def format_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --table, --json, --ndjson, --csv and --markdown; the one given is `format`."""
    for name, text in reversed(_HELP.items()):
        command = click.option(
            f"--{name}",
            cls=_FormatOption,
            is_flag=True,
            expose_value=False,
            callback=_choose_format,
            help=text,
        )(command)
    return command


def _choose_format(context: click.Context, option: click.Parameter, is_given: bool) -> None:
    given = context.meta.setdefault(_GIVEN, [])
    if is_given:
        given.append(option.name)
    if len(given) > 1 and not context.resilient_parsing:
        raise click.UsageError(f"--{given[0]} and --{given[1]} are both given: choose one format")
    context.params["format"] = given[0] if given else "table"


def print_rows(columns: Sequence[str], rows: Rows, format: Format) -> None:
    """Prints rows, each a value a column; nothing but them goes to standard output.

    Text is escaped in tables where it would not print; JSON and CSV carry it as it is, in UTF-8.
    What JSON has no word for is null there: NaN and the infinities. A reader that stops early, as
    `head` does, ends the command quietly.

    Raises:
        ClickException: standard output cannot be written, since a disk is full for example.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        encoding = sys.stdout.encoding if format == "table" else "utf-8"
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")
    for text in _LAYOUTS[format](columns, rows):
        print_text(text)
    print_text("", flush=True)


def print_text(text: str, flush: bool = False) -> None:
    """Writes to standard output as `print_rows` does; `text` brings its own line ends."""
    try:
        sys.stdout.write(text)
        if flush:
            sys.stdout.flush()
    except OSError as error:
        _stop_printing(error)


def _stop_printing(error: OSError) -> NoReturn:
    # Else Python would try once more to write what is left when it ends, and complain.
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        raise SystemExit(0) from error
    raise click.ClickException(f"standard output cannot be written: {error.strerror}") from error


def _json_array(columns: Sequence[str], rows: Rows) -> Iterator[str]:
    start = "["
    for row in rows:
        yield f"{start}\n  {_object(columns, row)}"
        start = ","
    yield "[]\n" if start == "[" else "\n]\n"


def _ndjson(columns: Sequence[str], rows: Rows) -> Iterator[str]:
    for row in rows:
        yield _object(columns, row) + "\n"


def _csv(columns: Sequence[str], rows: Rows) -> Iterator[str]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_csv_cell(value) for value in row])
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


def _markdown(columns: Sequence[str], rows: Rows) -> Iterator[str]:
    yield _markdown_line(columns)
    yield "|" + "---|" * len(columns) + "\n"
    for row in rows:
        yield _markdown_line(row)


def _object(columns: Sequence[str], row: Sequence[Any]) -> str:
    # What UTF-8 cannot encode is escaped by standard output, as JSON has it.
    return json.dumps(plain(dict(zip(columns, row, strict=True))), ensure_ascii=False)


def _csv_cell(value: Any) -> Any:
    known = plain(value)
    return json.dumps(known, ensure_ascii=False) if isinstance(known, (bool, list, dict)) else known


def _markdown_line(row: Sequence[Any]) -> str:
    return f"| {' | '.join(_MARKUP.sub(_ESCAPED, cell(value)) for value in row)} |\n"


_LAYOUTS: Final[dict[Format, Callable[[Sequence[str], Rows], Iterator[str]]]] = {
    "table": lay_out_table,
    "json": _json_array,
    "ndjson": _ndjson,
    "csv": _csv,
    "markdown": _markdown,
}
