import gc
from pathlib import Path
from uuid import uuid4

import click
import duckdb
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from pipeline.options import UsageError
from pipeline.results.views import connect
from tests.helpers.gcs_emulator import Proxy, status
from tests.helpers.made_outputs import FIRST, MODEL, SECOND, failed, predicted, write_run
from transforms.ledger import LedgerLine, write_ledger
from transforms.storage import storage_for


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Two runs: the second takes b up again and adds c."""
    out = tmp_path / "out"
    write_run(out, FIRST, [predicted("a", "cat", 0.9), failed("b", "unreadable")])
    write_run(out, SECOND, [predicted("b", "dish", 0.5), failed("c", "empty")])
    return out


def test_predictions_holds_every_row_of_every_run(output: Path) -> None:
    with connect(str(output)) as db:
        rows = db.execute("SELECT run_id, uri FROM predictions ORDER BY ALL").fetchall()
    assert rows == [(FIRST, "a"), (FIRST, "b"), (SECOND, "b"), (SECOND, "c")]


def test_current_is_the_row_of_the_latest_run_and_errors_are_its_failures(output: Path) -> None:
    with connect(str(output)) as db:
        current = db.execute("SELECT uri, run_id, label FROM current ORDER BY uri").fetchall()
        errors = db.execute("SELECT uri, error FROM errors").fetchall()
    assert current == [("a", FIRST, "cat"), ("b", SECOND, "dish"), ("c", SECOND, None)]
    assert errors == [("c", "empty")]


COUNTS = "SELECT run_id, state, listed, skipped, predicted, failed, model FROM runs ORDER BY run_id"


def test_a_killed_run_is_unfinished_and_tells_what_it_listed_and_what_it_did(output: Path) -> None:
    (output / "runs" / f"{SECOND}.json").unlink()
    with connect(str(output)) as db:
        runs = db.execute(COUNTS).fetchall()
        images = db.execute("SELECT count(*) FROM current").fetchall()
    assert runs == [
        (FIRST, "complete", 2, 0, 1, 1, MODEL),
        (SECOND, "unfinished", 2, 0, 1, 1, MODEL),
    ]
    assert images == [(3,)]


def test_a_run_killed_before_its_first_shard_tells_what_it_listed(output: Path) -> None:
    run_id = "r-20261130T000000-dead"
    lines = [LedgerLine("bucket", "00000", 7, 0, 0), LedgerLine("bucket", "00001", 2, 0, 0)]
    write_ledger([*lines, LedgerLine("part", "p", 4, 0, 0)], str(output), run_id)
    with connect(str(output)) as db:
        assert db.execute(COUNTS).fetchall()[-1] == (run_id, "unfinished", 9, 4, 0, 0, None)


@pytest.mark.parametrize("text", ["", "{}", "no ledger"])
def test_a_run_without_a_ledger_does_not_know_what_it_listed(output: Path, text: str) -> None:
    run_id = "r-20261130T000000-dead"
    (output / "ledger" / f"{run_id}.jsonl").write_text(text)
    listed = 0 if not text else None
    with connect(str(output)) as db:
        latest = db.execute(COUNTS).fetchall()[-1]
    assert latest == (run_id, "unfinished", listed, listed, 0, 0, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"model": "m@1"}', ("complete", None, "m@1", None)),
        ('{"complete": false, "listed": 7}', ("unbalanced", 7, None, None)),
        (
            '{"listed": "many", "model": ["x"], "errors": {"empty": 1}}',
            ("complete", None, '["x"]', '{"empty": 1}'),
        ),
        ("{", ("unreadable", None, None, None)),
        ("[1]", ("unreadable", None, None, None)),
        ("\x00\xff", ("unreadable", None, None, None)),
    ],
    ids=["few fields", "unbalanced", "other types", "cut off", "a list", "noise"],
)
def test_what_the_file_of_a_run_lacks_is_null(
    output: Path, text: str, expected: tuple[object, ...]
) -> None:
    (output / "runs" / f"{SECOND}.json").write_text(text, encoding="latin-1")
    with connect(str(output)) as db:
        row = db.execute(
            "SELECT state, listed, model, errors FROM runs WHERE run_id = ?", [SECOND]
        ).fetchone()
    assert row == expected


@pytest.mark.parametrize("name", ["out[1]", "a*b", "uri=x", "what?", "o'clock", "späte Bilder"])
def test_an_output_may_have_any_name(tmp_path: Path, name: str) -> None:
    write_run(tmp_path / name, FIRST, [predicted("a", "cat", 0.9)])
    with connect(str(tmp_path / name)) as db:
        rows = db.execute("SELECT uri, run_id FROM current").fetchall()
        columns = {row[0] for row in db.execute("DESCRIBE predictions").fetchall()}
    assert rows == [("a", FIRST)]
    assert "filename" not in columns


def test_only_whole_part_files_are_read(output: Path) -> None:
    folder = output / "predictions" / f"run_id={FIRST}"
    (folder / "notes.parquet").write_text("not one of ours")
    (output / "predictions" / "_SUCCESS").touch()
    with connect(str(output)) as db:
        assert db.execute("SELECT count(*) FROM runs").fetchone() == (2,)
        assert db.execute("SELECT count(*) FROM predictions").fetchone() == (4,)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('{outside}')",
        "SELECT * FROM read_csv('{inside}/../../secret.txt')",
        "COPY (SELECT 1) TO '{outside}'",
        "ATTACH '{outside}.db'",
        "INSTALL httpfs",
        "SELECT * FROM 'https://example.org/x.parquet'",
        "SET enable_external_access = true",
        "SET memory_limit = '1TB'",
        "RESET allowed_directories",
    ],
)
def test_a_statement_reaches_nothing_outside_the_output(
    output: Path, tmp_path: Path, statement: str
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret\n")
    text = statement.format(outside=secret, inside=output / "predictions")
    with connect(str(output)) as db, pytest.raises(duckdb.Error):
        db.execute(text).fetchall()
    assert secret.read_text() == "secret\n"


@pytest.mark.parametrize("made", [True, False], ids=["empty", "missing"])
def test_an_output_without_predictions_says_what_to_run(tmp_path: Path, made: bool) -> None:
    if made:
        (tmp_path / "out").mkdir()
    with (
        pytest.raises(UsageError, match=r"holds no predictions; make some with\n  python -m pipe"),
        connect(str(tmp_path / "out")),
    ):
        pass


# Google's client drops an answer that it asks for again without closing the connection.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_an_output_on_cloud_storage_reads_alike(output: Path, cloud: Proxy) -> None:
    bucket = f"views-{uuid4().hex}"
    storage.Client("test", credentials=AnonymousCredentials()).create_bucket(bucket)
    for path in output.rglob("*"):
        if path.is_file() and path.name != f"{SECOND}.json":
            name = str(path.relative_to(output))
            storage_for("gs://").write(f"gs://{bucket}/out", name, path.read_bytes())
    with connect(f"gs://{bucket}/out") as db:
        current = db.execute("SELECT uri, run_id, label FROM current ORDER BY uri").fetchall()
        runs = db.execute("SELECT run_id, state FROM runs ORDER BY run_id").fetchall()
    assert current == [("a", FIRST, "cat"), ("b", SECOND, "dish"), ("c", SECOND, None)]
    assert runs == [(FIRST, "complete"), (SECOND, "unfinished")]
    gc.collect()  # while this test's filter of warnings holds


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_part_file_that_may_not_be_read_is_one_line(output: Path, cloud: Proxy) -> None:
    bucket = f"views-{uuid4().hex}"
    storage.Client("test", credentials=AnonymousCredentials()).create_bucket(bucket)
    for path in output.rglob("*.parquet"):
        name = str(path.relative_to(output))
        storage_for("gs://").write(f"gs://{bucket}/out", name, path.read_bytes())
    cloud.lasting_fault = lambda request, reply: (
        status(403, "no access")(reply) if "/download/" in request else reply
    )
    with (
        pytest.raises(click.ClickException, match=r"a part file cannot be read: gs://.*no access"),
        connect(f"gs://{bucket}/out"),
    ):
        pass
    gc.collect()
