"""Rows on standard output, the same five ways in every command that reads."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from transforms.failures import printable

Format = Literal["table", "json", "ndjson", "csv", "markdown"]

_HELP: Final[dict[Format, str]] = {
    "table": "Aligned columns for reading; the default.",
    "json": "One JSON array.",
    "ndjson": "One JSON object a line.",
    "csv": "Comma-separated values with a header.",
    "markdown": "A Markdown table.",
}


def format_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --table, --json, --ndjson, --csv and --markdown; the last one given is `format`."""
    for name, text in reversed(_HELP.items()):
        command = click.option(
            f"--{name}", "format", flag_value=name, default=name == "table", help=text
        )(command)
    return command


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]], format: Format) -> None:
    """Prints rows, each a value a column; nothing but them goes to standard output.

    Text is escaped where it would not print; JSON and CSV carry it as it is.
    """
    _PRINTERS[format](columns, rows)


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    values = [list(row) for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        is_number = all(isinstance(row[index], (int, float, type(None))) for row in values)
        table.add_column(column, justify="right" if is_number and values else "left")
    for row in values:
        table.add_row(*(Text(_cell(value)) for value in row))
    console = Console(highlight=False)
    if not console.is_terminal:  # a pipe has no width to fold lines for
        console = Console(highlight=False, width=max(console.measure(table).maximum, 1))
    console.print(table)


def _print_json(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    start = "["
    for row in rows:
        sys.stdout.write(f"{start}\n  {_object(columns, row)}")
        start = ","
    sys.stdout.write("[]\n" if start == "[" else "\n]\n")


def _print_ndjson(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    for row in rows:
        sys.stdout.write(_object(columns, row) + "\n")


def _print_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_json(v) if isinstance(v, (list, dict)) else _plain(v) for v in row])


def _print_markdown(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    for row in (columns, ["---"] * len(columns), *rows):
        cells = (_cell(value).replace("|", "\\|") for value in row)
        sys.stdout.write(f"| {' | '.join(cells)} |\n")


def _object(columns: Sequence[str], row: Sequence[Any]) -> str:
    return _json(dict(zip(columns, row, strict=True)))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    return (
        value.isoformat()
        if isinstance(value, datetime)
        else value
        if value is None
        else (value if isinstance(value, (int, float, str)) else str(value))
    )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.1f}"
    if isinstance(value, bool) or not isinstance(value, int):
        return printable(_json(value) if isinstance(value, (list, dict)) else str(_plain(value)))
    return f"{value:,}"


_PRINTERS: Final[dict[Format, Callable[[Sequence[str], Iterable[Sequence[Any]]], None]]] = {
    "table": _print_table,
    "json": _print_json,
    "ndjson": _print_ndjson,
    "csv": _print_csv,
    "markdown": _print_markdown,
}
