"""Rows as aligned columns: folded to a terminal's width, as wide as they need in a pipe."""

import json
import math
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from itertools import islice
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from transforms.failures import printable

Rows = Iterable[Sequence[Any]]

# A table is laid out block by block, so that a million rows need no more memory than these.
_BLOCK_ROWS: Final = 1000
# Columns folded to fewer characters than this are no pleasure to read.
_LEAST_WIDTH: Final = 16
_GAP: Final = 2
_BAR_WIDTH: Final = 20
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


class Share(float):
    """A part of a whole, 0..1: per cent in a table, with a bar on a terminal; else a number."""


def lay_out_table(columns: Sequence[str], rows: Rows) -> Iterator[str]:
    """The text of a table, a block of rows at a time; every block begins with the header."""
    lay_out = _for_terminal if sys.stdout.isatty() else _for_pipe
    names, source = [printable(column) for column in columns], iter(rows)
    yield lay_out(names, list(islice(source, _BLOCK_ROWS)))
    while block := list(islice(source, _BLOCK_ROWS)):
        yield "\n" + lay_out(names, block)


def plain(value: Any) -> Any:
    """`value` made of what JSON knows; what it has no word for, NaN for example, is None."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, Decimal):
        return plain(float(value))
    if isinstance(value, dict):
        return {_key(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)


def cell(value: Any) -> str:
    """One value for reading, in one line of printable characters."""
    if isinstance(value, Share) and math.isfinite(value):
        return f"{value:.1%}"
    known = plain(value)
    if known is None:
        return ""
    if isinstance(known, (bool, list, dict)):
        return printable(json.dumps(known, ensure_ascii=False))
    if isinstance(known, float):
        return f"{known:.4g}" if abs(known) < 1000 else f"{known:,.1f}"
    return f"{known:,}" if isinstance(known, int) else printable(known)


def _key(key: Any) -> str:
    known = plain(key)
    return known if isinstance(known, str) else json.dumps(known)


def _for_pipe(columns: list[str], rows: list[Sequence[Any]]) -> str:
    cells = [columns, *([cell(value) for value in row] for row in rows)]
    is_right = _right_aligned(columns, rows)
    widths = [max(cell_len(row[i]) for row in cells) for i in range(len(columns))]
    lines = []
    for row in cells:
        padded = []
        for text, width, right in zip(row, widths, is_right, strict=True):
            space = " " * (width - cell_len(text))
            padded.append(space + text if right else text + space)
        lines.append((" " * _GAP).join(padded).rstrip() + "\n")
    return "".join(lines)


def _for_terminal(columns: list[str], rows: list[Sequence[Any]]) -> str:
    # A dumb terminal has a width as well, which rich does not ask for.
    width, height = shutil.get_terminal_size()
    console = Console(highlight=False, width=width, height=height)
    cells = [[_rich_cell(value) for value in row] for row in rows]
    with console.capture() as capture:
        if _folds_well(columns, cells, width):
            table = Table(box=None, pad_edge=False, header_style="bold")
            is_right = _right_aligned(columns, rows, bars=True)
            for column, right in zip(columns, is_right, strict=True):
                table.add_column(column, justify="right" if right else "left", overflow="fold")
            for row in cells:
                table.add_row(*row)
            console.print(table)
        else:
            for row in cells:
                _print_upright(console, columns, row)
    return capture.get()


def _folds_well(columns: list[str], cells: list[list[Text]], width: int) -> bool:
    """Whether the columns that are too wide keep a readable width when the others have theirs."""
    natural = [
        max(*map(cell_len, column.split(" ")), *(row[index].cell_len for row in cells), 0)
        for index, column in enumerate(columns)
    ]
    folded = [min(each, _LEAST_WIDTH) for each in natural]
    return sum(folded) + _GAP * (len(columns) - 1) <= width


def _print_upright(console: Console, columns: list[str], row: list[Text]) -> None:
    """One row as lines of name and value, for terminals too narrow for its table."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for column, text in zip(columns, row, strict=True):
        table.add_row(column, text)
    console.print(table, "")


def _rich_cell(value: Any) -> Text:
    if not (isinstance(value, Share) and math.isfinite(value)):
        return Text(cell(value))
    return Text(f"{cell(value):>6} ").append(_bar(value), style="cyan")


def _bar(share: float) -> str:
    """A bar as long as `share` of 20 characters."""
    filled = min(max(share, 0.0), 1.0) * _BAR_WIDTH
    if (sys.stdout.encoding or "").lower().startswith("utf"):
        whole, eighths = divmod(round(filled * 8), 8)
        return "█" * whole + (_EIGHTHS[eighths] if eighths else "")
    return "#" * round(filled)


def _right_aligned(columns: list[str], rows: list[Sequence[Any]], bars: bool = False) -> list[bool]:
    """For each column, whether it holds numbers alone; those with bars begin on the left."""
    left = (bool, Share) if bars else (bool,)
    return [
        any(row[index] is not None for row in rows)
        and all(
            row[index] is None
            or (isinstance(row[index], (int, float, Decimal)) and not isinstance(row[index], left))
            for row in rows
        )
        for index in range(len(columns))
    ]
