"""An output folder as four DuckDB views; SQL can read nothing else.

`predictions` has every row of every run, `current` the latest row of each image, `errors` those
of them without a prediction; `runs` has a row a run, the unfinished ones too.
"""

import json
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
import duckdb

from pipeline.options import UsageError
from pipeline.running.run_ids import earlier_run_ids
from transforms.failures import printable
from transforms.layout import PREDICTIONS, RUN_FOLDER, RUN_PREFIX, run_name, run_of_part
from transforms.ledger import read_ledger
from transforms.storage import is_local, join, storage_for
from transforms.storage.uris import absolute_path, local_path

# DuckDB spills to the disk above this; a million rows stay well below.
MEMORY_LIMIT: Final = "1GB"
_DOWNLOADS = 16
_RUN_COLUMNS: Final = {
    "run_id": "VARCHAR",
    "state": "VARCHAR",  # complete, unbalanced, unreadable; unfinished: killed or still running
    "started": "VARCHAR",
    "seconds": "DOUBLE",
    "images_per_second": "DOUBLE",
    "listed": "BIGINT",
    "duplicates": "BIGINT",
    "predicted": "BIGINT",
    "failed": "BIGINT",
    "skipped": "BIGINT",
    "model": "VARCHAR",
    "engine": "VARCHAR",
    "classes": "BIGINT",
    "errors": "JSON",
    "differences": "JSON",
    "configuration": "JSON",
    "versions": "JSON",
}


@contextmanager
def connect(output: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with `predictions`, `current`, `errors` and `runs` of an output folder.

    Part files are read where they lie; those of a remote folder are copied to a temporary one
    first. Statements reach nothing outside that folder and no setting can be changed.

    Raises:
        UsageError: there is no folder, there are no predictions in it, or a statement is wrong.
        ClickException: a part file is not whole, or cannot be read.
    """
    parts = _parts(output)
    with tempfile.TemporaryDirectory(prefix="mobilenet-beam-") as scratch:
        folder = join(output, PREDICTIONS)
        if is_local(output):
            root = Path(absolute_path(local_path(folder)))
        else:
            root = Path(scratch) / PREDICTIONS
            _download(folder, parts, root)
        with duckdb.connect(":memory:") as db, _in_one_line():
            _create_runs(db, output)
            _lock(db, root, Path(scratch) / "spilled")
            _create_views(db, [str(root / part) for part in parts])
            _count_unfinished(db, parts)
            yield db


@contextmanager
def _in_one_line() -> Iterator[None]:
    """DuckDB's own words, without the statement that it repeats below them."""
    try:
        yield
    except duckdb.Error as error:
        message = " ".join(str(error).split("\n\nLINE ")[0].split())
        of_a_file = isinstance(error, (duckdb.IOException, duckdb.InvalidInputException))
        if of_a_file and ".parquet" in message:
            text = f"a part file cannot be read: {printable(message)}"
            raise click.ClickException(text) from error
        raise UsageError(printable(message)) from error


def _parts(output: str) -> list[str]:
    """Part files, named from `predictions/` on."""
    try:
        names = storage_for(output).names(join(output, PREDICTIONS))
    except (OSError, ValueError) as error:
        raise UsageError(f"{output!r} cannot be read: {error}") from error
    parts = [name for name in names if run_of_part(name)]
    if not parts:
        raise UsageError(
            f"{output!r} holds no predictions; make some with\n"
            f"  python -m pipeline.run --input photos/ --output {output}"
        )
    return parts


def _download(folder: str, parts: list[str], root: Path) -> None:
    def download(part: str) -> None:
        target = root / part
        target.parent.mkdir(parents=True, exist_ok=True)
        uri = join(folder, part)
        with storage_for(uri).open(uri) as source, target.open("wb") as file:
            while block := source.read(1 << 20):
                file.write(block)

    try:
        with ThreadPoolExecutor(_DOWNLOADS) as pool:
            list(pool.map(download, parts))
    except OSError as error:
        text = f"a part file cannot be read: {printable(str(error))}"
        raise click.ClickException(text) from error


def _lock(db: duckdb.DuckDBPyConnection, root: Path, spilled: Path) -> None:
    for name, value in (
        ("temp_directory", f"'{_quoted(str(spilled))}'"),
        ("memory_limit", f"'{MEMORY_LIMIT}'"),
        ("preserve_insertion_order", "false"),  # an order nobody asked for costs memory
        ("enable_progress_bar", "false"),
        ("TimeZone", "'UTC'"),
        # Also as the statement below spells it, since that is what is checked first.
        ("allowed_directories", f"['{_quoted(str(root))}/', '{_quoted(_literal(str(root)))}/']"),
        ("enable_external_access", "false"),
        ("lock_configuration", "true"),
    ):
        db.execute(f"SET {name} = {value}")


def _create_views(db: duckdb.DuckDBPyConnection, paths: list[str]) -> None:
    # Not by hive_partitioning: it would also take `model=x/` above the output for a column.
    files = ", ".join(f"'{_quoted(_literal(path))}'" for path in paths)
    run_id = rf"regexp_extract(filename, '{RUN_FOLDER}([^/]+)/[^/]+$', 1)"
    db.execute(
        f"CREATE VIEW predictions AS SELECT * EXCLUDE (filename), {run_id} AS run_id "
        f"FROM read_parquet([{files}], filename = true, hive_partitioning = false)"
    )
    # A run holds a URI once, so that only several runs have anything to choose between.
    several_runs = len({Path(path).parent for path in paths}) > 1
    latest = "SEMI JOIN (SELECT uri, max(run_id) AS run_id FROM predictions GROUP BY uri)"
    join_latest = f"{latest} AS latest USING (uri, run_id)" if several_runs else ""
    db.execute(f"CREATE VIEW current AS SELECT * FROM predictions {join_latest}")
    db.execute("CREATE VIEW errors AS SELECT * FROM current WHERE error IS NOT NULL")


def _create_runs(db: duckdb.DuckDBPyConnection, output: str) -> None:
    """One row for each run that has a part file, a ledger or a file of its own."""
    runs = {
        run_id: _run(_run_facts(output, run_id))
        for run_id in earlier_run_ids(output)
        if run_id.startswith(RUN_PREFIX)  # and no marker of another program
    }
    columns = ", ".join(f"{name} {kind}" for name, kind in _RUN_COLUMNS.items())
    db.execute(f"CREATE TABLE runs ({columns})")
    marks = ", ".join(f"TRY_CAST(? AS {kind})" for kind in _RUN_COLUMNS.values())
    for run_id, facts in sorted(runs.items()):
        values = [run_id, *(facts[name] for name in _RUN_COLUMNS if name != "run_id")]
        db.execute(f"INSERT INTO runs VALUES ({marks})", values)


def _run(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts of a run by column; what is missing or of another type becomes null."""
    state = facts.get("state") or {None: "unfinished", True: "complete"}.get(
        facts.get("complete"), "unbalanced"
    )
    return {
        name: json.dumps(value) if isinstance(value, (dict, list)) else value
        for name, value in ((name, facts.get(name)) for name in _RUN_COLUMNS)
    } | {"state": state}


def _run_facts(output: str, run_id: str) -> dict[str, Any]:
    """What the file of a run says; what its ledger says if it has none."""
    path = join(output, run_name(run_id))
    try:
        with storage_for(path).open(path) as file:
            facts = json.loads(file.read())
    except FileNotFoundError:
        return _listed(output, run_id)
    except (OSError, ValueError):
        return {"state": "unreadable"}
    if not isinstance(facts, dict):
        return {"state": "unreadable"}
    return {"complete": True} | facts  # written last: by its being there


def _listed(output: str, run_id: str) -> dict[str, int]:
    """What a run listed; nothing if it was killed before that was on disk."""
    try:
        lines = read_ledger(output, run_id)
    except (OSError, ValueError, TypeError):
        return {}
    return {
        "listed": sum(line.images for line in lines if line.kind == "bucket"),
        "duplicates": sum(line.duplicates for line in lines),
        "skipped": sum(line.images for line in lines if line.kind == "part"),
    }


def _count_unfinished(db: duckdb.DuckDBPyConnection, parts: list[str]) -> None:
    """What lies on disk of each run that has no file of its own."""
    db.execute("UPDATE runs SET predicted = 0, failed = 0 WHERE state = 'unfinished'")
    unfinished = db.execute("SELECT run_id FROM runs WHERE state = 'unfinished'").fetchall()
    for (run_id,) in unfinished:
        if any(run_of_part(part) == run_id for part in parts):
            counts = "count(*) - count(error), count(error), any_value(model)"
            of_run = f"SELECT {counts}, run_id FROM predictions WHERE run_id = ? GROUP BY run_id"
            row = db.execute(of_run, [run_id]).fetchone()
            db.execute("UPDATE runs SET predicted = ?, failed = ?, model = ? WHERE run_id = ?", row)


def _literal(path: str) -> str:
    """`path` for DuckDB, which would take glob characters for a pattern."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def _quoted(text: str) -> str:
    return text.replace("'", "''")
