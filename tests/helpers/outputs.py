"""What lies in an output folder, read by DuckDB and by its bytes."""

from pathlib import Path
from typing import Any

import duckdb

Row = dict[str, Any]

_CURRENT = "QUALIFY row_number() OVER (PARTITION BY uri ORDER BY run_id DESC) = 1"


def query(sql: str) -> list[Row]:
    """Rows as dictionaries."""
    found = duckdb.connect().execute(sql)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def all_rows(output: Path) -> list[Row]:
    """Every row of every run, opened with no options."""
    return query(f"SELECT * FROM '{output}/predictions/*/*.parquet' ORDER BY uri, run_id")


def current_rows(output: Path) -> dict[str, Row]:
    """The row of each URI's latest run."""
    rows = query(f"SELECT * FROM '{output}/predictions/*/*.parquet' {_CURRENT} ORDER BY uri")
    return {row["uri"]: row for row in rows}


def part_files(output: Path) -> list[Path]:
    """Every file that readers see."""
    return sorted(path for path in (output / "predictions").glob("*/*") if path.is_file())


def part_bytes(output: Path) -> dict[str, bytes]:
    """Every part file with its content."""
    return {str(path.relative_to(output)): path.read_bytes() for path in part_files(output)}
