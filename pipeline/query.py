"""`python -m pipeline.query`: what an output folder holds, by SQL or by a ready-made question.

The SQL is DuckDB's. It sees `predictions` (every row of every run), `current` (the row of each
image in its latest run), `errors` (those of them without a prediction) and `runs`, and it can read
and write nothing else. Part files on gs:// are copied to a temporary folder first.

Exit codes: 0 done; 1 a part file cannot be read; 2 wrong usage, wrong SQL, or no predictions.
"""

import difflib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

import click
import duckdb

from pipeline.console.command import LOCATION
from pipeline.console.print_rows import Format, Share, print_rows, print_text
from pipeline.console.reading_command import own_option, reading_command
from pipeline.options import UsageError
from pipeline.results.views import connect
from transforms.layout import PREDICTIONS
from transforms.storage import join

Rows = Iterator[Sequence[Any]]

_PROG: Final = "python -m pipeline.query"
_EXAMPLES: Final = f"""Examples:
  {_PROG} out/                                    a summary
  {_PROG} out/ --label cat --min-score 0.5
  {_PROG} out/ --failed --csv > failed.csv
  {_PROG} out/ "SELECT label, count(*) AS n FROM current GROUP BY label ORDER BY n DESC"
  {_PROG} out/ "FROM runs" --json | jq '.[].images_per_second'
  {_PROG} gs://bucket/out --bigquery dataset      the statement for BigQuery"""
_STANDARD_INPUT: Final = "-"
_FETCHED_ROWS: Final = 1000
_TOP_LABELS: Final = 10
_PREDICTED: Final = "uri, label, score, width, height, model, run_id"
_FAILED: Final = "uri, error, error_stage, error_message, retryable, run_id"
_DATASET: Final = re.compile(r"([\w-]+\.)?\w+")


@reading_command(_EXAMPLES)
@click.argument("output", metavar="OUTPUT", type=LOCATION)
@click.argument("sql", metavar="[SQL]", required=False)
@own_option("Rows", "--label", metavar="TEXT", help="Images whose best class has TEXT in its name.")
@own_option(
    *("Rows", "--min-score"), type=float, metavar="X", help="Images scored X or more, 0 to 1."
)
@own_option("Rows", "--failed", is_flag=True, help="Images without a prediction, and why.")
@own_option("Rows", "--limit", type=int, metavar="N", help="Print the first N rows only.")
@own_option(
    *("Other", "--bigquery"),
    metavar="DATASET",
    help="Print the statement that makes OUTPUT, on gs://, the table DATASET.predictions.",
)
def main(output: str, sql: str | None, format: Format, **options: Any) -> None:
    """Ask what OUTPUT, the folder of a run's results, holds.

    SQL, or - to read it from standard input, is DuckDB's; the tables are predictions, current (the
    latest row of each image), errors and runs. Without SQL and without an option: a summary.

    Nothing else is read and nothing is written. Part files on gs:// are first copied to a
    temporary folder, all of them.
    """
    _check(sql, **options)
    if options["bigquery"] is not None:
        print_text(bigquery_statement(output, options["bigquery"]), flush=True)
        return
    with connect(output) as db:
        columns, rows = _ask(db, sql, **options)
        print_rows(columns, islice(rows, options["limit"]), format)


def _check(sql: str | None, **options: Any) -> None:
    """Raises UsageError for options that contradict each other or make no sense."""
    given = [
        f"--{name.replace('_', '-')}"
        for name in ("label", "min_score", "failed", "bigquery")
        if options[name] not in (None, False)
    ]
    if sql is not None and given:
        raise UsageError(f"{given[0]} and SQL exclude each other: put it into the WHERE clause")
    if len(given) > 1 and {"--failed", "--bigquery"} & set(given):
        raise UsageError(f"{given[0]} and {given[1]} exclude each other: give one of them")
    if options["min_score"] is not None and not 0 <= options["min_score"] <= 1:
        raise UsageError(f"--min-score {options['min_score']:g} must be from 0 to 1")
    if options["limit"] is not None and options["limit"] < 1:
        raise UsageError(f"--limit {options['limit']} must be at least 1")


def _ask(
    db: duckdb.DuckDBPyConnection,
    sql: str | None,
    label: str | None,
    min_score: float | None,
    failed: bool,
    **_: Any,
) -> tuple[Sequence[str], Rows]:
    """Names of columns and rows for what was asked."""
    if sql is not None:
        text = sys.stdin.read() if sql == _STANDARD_INPUT else sql
        return _answer(db.execute(_only_reading(db, text)))
    if failed:
        return _answer(db.execute(f"SELECT {_FAILED} FROM errors ORDER BY error, uri"))
    if label is None and min_score is None:
        return summary(db)
    if label is not None:
        _check_label(db, label)
    return _answer(
        db.execute(
            f"SELECT {_PREDICTED} FROM current WHERE contains(lower(label), lower(?)) "
            "AND score >= ? ORDER BY score DESC, uri",
            [label or "", min_score or 0.0],
        )
    )


def _only_reading(db: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    """The one statement in `sql`, which may not change anything.

    Raises:
        UsageError: there are more or none, or it is no query.
        duckdb.Error: DuckDB does not take it.
    """
    statements = db.extract_statements(sql)
    if len(statements) != 1:
        raise UsageError(f"SQL must be one statement, not {len(statements)}")
    (statement,) = statements
    if statement.type != duckdb.StatementType.SELECT:
        raise UsageError(
            f"only queries are answered, and this is {statement.type.name}: begin with SELECT, "
            "FROM, WITH, DESCRIBE or SUMMARIZE"
        )
    # A WITH clause may hold COPY or DELETE, but not within a subquery: there DuckDB refuses it.
    db.execute(f"EXPLAIN SELECT * FROM (\n{statement.query.strip().rstrip(';')}\n)")
    return statement


def _answer(found: duckdb.DuckDBPyConnection) -> tuple[Sequence[str], Rows]:
    """Columns, each with a name of its own, and the rows as they come."""
    names: list[str] = []
    for name, *_ in found.description or ():
        names.append(name if name not in names else f"{name}_{len(names)}")
    are_json = [str(kind) == "JSON" for _, kind, *_ in found.description or ()]

    def rows() -> Rows:
        while some := found.fetchmany(_FETCHED_ROWS):
            for row in some:
                yield [
                    json.loads(value) if is_json and value is not None else value
                    for value, is_json in zip(row, are_json, strict=True)
                ]

    return names, rows()


def summary(db: duckdb.DuckDBPyConnection) -> tuple[Sequence[str], Rows]:
    """Counts of the current rows: predicted and failed, by reason, by label; and the runs."""
    counted: list[tuple[str | None, str | None, int]] = db.execute(
        "SELECT label, error, count(*) AS images FROM current GROUP BY ALL ORDER BY images DESC, "
        "label, error"
    ).fetchall()
    runs: list[tuple[str, str, int]] = db.execute(
        "SELECT run_id, state, coalesce(rows, 0) FROM runs LEFT JOIN "
        "(SELECT run_id, count(*) AS rows FROM predictions GROUP BY run_id) USING (run_id) "
        "ORDER BY run_id"
    ).fetchall()
    errors = [("error", error, images) for _, error, images in counted if error]
    labels = [("label", label, images) for label, error, images in counted if not error]
    failed, predicted = (sum(images for *_, images in group) for group in (errors, labels))
    total = (predicted + failed) or 1
    lines: list[tuple[str, str | None, int]] = [
        *(("images", "predicted", predicted), ("images", "failed", failed)),
        *errors,
        *labels[:_TOP_LABELS],
    ]
    rows: list[Sequence[Any]] = [(*line, Share(line[-1] / total), None) for line in lines]
    rows += [("run", run_id, images, None, state) for run_id, state, images in runs]
    return ("what", "name", "images", "share", "state"), iter(rows)


def bigquery_statement(output: str, dataset: str) -> str:
    """The statement that makes an output folder on Cloud Storage a table in BigQuery.

    Raises:
        UsageError: the folder is elsewhere, or `dataset` is no name of one.
    """
    if not output.startswith("gs://"):
        raise UsageError(f"BigQuery reads from Cloud Storage: {output!r} does not begin with gs://")
    if not _DATASET.fullmatch(dataset):
        raise UsageError(f"--bigquery {dataset!r} must be DATASET or PROJECT.DATASET")
    folder = join(output, PREDICTIONS).replace("\\", "\\\\").replace("'", "\\'")
    return (
        f"CREATE EXTERNAL TABLE `{dataset}.predictions`\n"
        "WITH PARTITION COLUMNS (run_id STRING)\n"
        "OPTIONS (\n"
        "  format = 'PARQUET',\n"
        f"  uris = ['{folder}/*'],\n"
        f"  hive_partition_uri_prefix = '{folder}',\n"
        "  enable_list_inference = true\n"
        ");\n"
    )


def _check_label(db: duckdb.DuckDBPyConnection, text: str) -> None:
    """Says on standard error what the nearest labels are if none has `text` in it."""
    labels = [label for (label,) in db.execute("SELECT DISTINCT label FROM current").fetchall()]
    names = {label.lower(): label for label in labels if label is not None}
    if any(text.lower() in name for name in names):
        return
    near = difflib.get_close_matches(text.lower(), names, n=3, cutoff=0.5)
    hint = f"; near it are {', '.join(repr(names[name]) for name in near)}" if near else ""
    click.echo(f"no label here has {text!r} in it{hint}", err=True)


if __name__ == "__main__":
    main(prog_name=_PROG)
