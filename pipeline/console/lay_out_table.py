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
# Where a terminal is too narrow for columns of this width, each row is a list of names and values.
_LEAST_WIDTH: Final = 16
_GAP: Final = 2


class Share(float):
    """A part of a whole, 0..1: per cent in a table, else a number."""


def lay_out_table(columns: Sequence[str], rows: Rows) -> Iterator[str]:
    """The text of a table, a block of rows at a time; every block begins with the header."""
    lay_out = _for_terminal if sys.stdout.isatty() else _for_pipe
    names, source, gap = [printable(column) for column in columns], iter(rows), ""
    while (block := list(islice(source, _BLOCK_ROWS))) or not gap:
        cells = [names, *([cell(value) for value in row] for row in block)]
        is_right = [_are_numbers([row[index] for row in block]) for index in range(len(names))]
        yield gap + lay_out(cells, is_right)
        gap = "\n"


def plain(value: Any) -> Any:
    """`value` as JSON types; None for what JSON lacks, such as NaN."""
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, dict):
        return {_key(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)


def cell(value: Any) -> str:
    """One value for reading, in one line of printable characters."""
    known = plain(value)
    if known is None:
        return ""
    if isinstance(value, Share):
        return f"{value:.1%}"
    if isinstance(known, (bool, list, dict)):
        return printable(json.dumps(known, ensure_ascii=False))
    if isinstance(known, float):
        return f"{known:.4g}" if abs(known) < 1000 else f"{known:,.1f}"
    return f"{known:,}" if isinstance(known, int) else printable(known)


def _key(key: Any) -> str:
    known = plain(key)
    return known if isinstance(known, str) else json.dumps(known)


def _are_numbers(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    numbers = (int, float, Decimal)
    return bool(known) and all(isinstance(v, numbers) and not isinstance(v, bool) for v in known)


def _widths(cells: list[list[str]]) -> list[int]:
    return [max(map(cell_len, column)) for column in zip(*cells, strict=True)]


def _for_pipe(cells: list[list[str]], is_right: list[bool]) -> str:
    # Not by rich, which needs half a second for a block.
    widths, lines = _widths(cells), []
    for row in cells:
        padded = []
        for text, width, right in zip(row, widths, is_right, strict=True):
            space = " " * (width - cell_len(text))
            padded.append(space + text if right else text + space)
        lines.append((" " * _GAP).join(padded).rstrip() + "\n")
    return "".join(lines)


def _for_terminal(cells: list[list[str]], is_right: list[bool]) -> str:
    # A dumb terminal has a width as well, which rich does not ask for.
    width, height = shutil.get_terminal_size()
    console = Console(highlight=False, width=width, height=height)
    texts = [[Text(text) for text in row] for row in cells]
    widths = _widths([[max(name.split(" "), key=cell_len) for name in cells[0]], *cells[1:]])
    least = sum(min(each, _LEAST_WIDTH) for each in widths) + _GAP * (len(widths) - 1)
    with console.capture() as capture:
        if least <= width:
            table = Table(box=None, pad_edge=False, header_style="bold")
            for name, right in zip(texts[0], is_right, strict=True):
                table.add_column(name, justify="right" if right else "left", overflow="fold")
            for row in texts[1:]:
                table.add_row(*row)
            console.print(table)
        for row in texts[1:] if least > width else ():
            pairs = Table.grid(padding=(0, _GAP, 0, 0))
            pairs.add_column(style="bold", no_wrap=True)
            pairs.add_column(overflow="fold")
            for name, text in zip(texts[0], row, strict=True):
                pairs.add_row(name, text)
            console.print(pairs, "")
    return capture.get()
