import csv
import datetime
import io
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from pipeline.query import main
from tests.helpers.gcs_emulator import Proxy
from tests.helpers.model_fixtures import PHOTOS, ROOT, TINY_LABELS, Command, TinyModel
from transforms.schema import SCHEMA


@pytest.fixture(scope="session")
def output(run: Command, tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs: twelve photographs and an empty file; then one of them changed, and one more."""
    folder = tmp_path_factory.mktemp("queried")
    images, out = folder / "in", folder / "out"
    shutil.copytree(PHOTOS, images)
    (images / "empty.jpg").touch()
    options = ["--input", str(images), "--output", str(out), *tiny_model.options()]
    assert run(*options).code == 0
    shutil.copy(PHOTOS / "clock.png", images / "cat.jpg")
    (images / "page.jpg").write_text("<html>")
    assert run(*options, "--resume").code == 0
    return out


def run_ids(output: Path) -> list[str]:
    return sorted(path.stem for path in (output / "runs").iterdir())


def invoke(*options: object, stdin: str = "") -> Result:
    return CliRunner().invoke(main, [str(option) for option in options], input=stdin)


def rows(*options: object, stdin: str = "") -> Any:
    """The rows of --json."""
    result = invoke(*options, "--json", stdin=stdin)
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def refused(*options: object, code: int = 2) -> str:
    result = invoke(*options)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) <= 2
    return result.stderr.removeprefix("error: ").rstrip("\n")


def name(uri: str) -> str:
    return uri.rsplit("/", 1)[-1]


def test_the_views_are_all_rows_the_latest_ones_and_their_errors(output: Path) -> None:
    first, second = run_ids(output)
    everything = rows(output, "SELECT uri, run_id FROM predictions")
    assert len(everything) == 13 + 2
    current = {name(row["uri"]): row for row in rows(output, "FROM current")}
    assert len(current) == 14
    assert [key for key, row in current.items() if row["run_id"] == second] == [
        "cat.jpg",
        "page.jpg",
    ]
    assert current["cat.jpg"]["label"] == current["clock.png"]["label"]
    assert current["cat.jpg"]["byte_size"] == (PHOTOS / "clock.png").stat().st_size
    assert list(current["cat.jpg"]) == [*SCHEMA.names, "run_id"]
    errors = rows(output, "SELECT uri, error FROM errors ORDER BY uri")
    assert [(name(row["uri"]), row["error"]) for row in errors] == [
        ("empty.jpg", "empty"),
        ("page.jpg", "not_an_image"),
    ]
    assert [run["run_id"] for run in rows(output, "FROM runs ORDER BY run_id")] == [first, second]


def test_runs_say_what_their_files_say_and_a_killed_one_is_unfinished(
    output: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "it's [a] copy"
    shutil.copytree(output, copy)
    first, second = run_ids(output)
    facts = json.loads((copy / "runs" / f"{first}.json").read_text())
    of_second = json.loads((copy / "runs" / f"{second}.json").read_text())
    (copy / "runs" / f"{second}.json").unlink()
    done, killed = rows(copy, "FROM runs ORDER BY run_id")
    assert (done["state"], killed["state"]) == ("complete", "unfinished")
    for column in ("seconds", "images_per_second", "listed", "predicted", "failed", "model"):
        assert done[column] == facts[column]
    known = {name: killed[name] for name in ("listed", "skipped", "predicted", "failed", "model")}
    assert known == {name: of_second[name] for name in known}
    assert (killed["seconds"], killed["configuration"]) == (None, None)
    assert done["errors"] == {"empty": 1}
    assert done["configuration"]["top_k"] == 2
    assert rows(copy, "SELECT count(*) AS n FROM current") == [{"n": 14}]


def test_without_a_question_it_sums_up(output: Path) -> None:
    first, second = run_ids(output)
    lines = rows(output)
    assert lines[:4] == [
        {"what": "images", "name": "predicted", "images": 12, "share": 12 / 14, "state": None},
        {"what": "images", "name": "failed", "images": 2, "share": 2 / 14, "state": None},
        {"what": "error", "name": "empty", "images": 1, "share": 1 / 14, "state": None},
        {"what": "error", "name": "not_an_image", "images": 1, "share": 1 / 14, "state": None},
    ]
    labels = [line for line in lines if line["what"] == "label"]
    assert sum(line["images"] for line in labels) == 12
    assert {line["name"] for line in labels} <= set(TINY_LABELS)
    assert [(line["name"], line["images"], line["state"]) for line in lines[-2:]] == [
        (first, 13, "complete"),
        (second, 2, "complete"),
    ]
    assert "predicted" in invoke(output).stdout


def test_ready_made_questions(output: Path) -> None:
    current = rows(output, "SELECT uri, label, score FROM current WHERE error IS NULL")
    label = current[0]["label"]
    same = {row["uri"] for row in current if row["label"] == label}
    found = rows(output, "--label", label.upper()[:3])
    assert {row["uri"] for row in found} == same
    assert [row["score"] for row in found] == sorted((r["score"] for r in found), reverse=True)

    middle = sorted(row["score"] for row in current)[6]
    better = {row["uri"] for row in current if row["score"] >= middle}
    assert {row["uri"] for row in rows(output, "--min-score", repr(middle))} == better
    both = rows(output, "--min-score", repr(middle), "--label", label)
    assert {row["uri"] for row in both} == better & same

    failed = rows(output, "--failed")
    assert [(name(row["uri"]), row["error"], row["retryable"]) for row in failed] == [
        ("empty.jpg", "empty", False),
        ("page.jpg", "not_an_image", False),
    ]
    assert len(rows(output, "--min-score", "0", "--limit", "3")) == 3
    assert len(rows(output, "FROM predictions", "--limit", "4")) == 4


def test_a_label_that_is_not_there_names_the_nearest(output: Path) -> None:
    label = rows(output, "SELECT label FROM current WHERE label IS NOT NULL LIMIT 1")[0]["label"]
    wrong = label[:-1] + "x"
    result = invoke(output, "--label", wrong, "--csv")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 1)
    assert result.stderr == f"no label here has {wrong!r} in it; near it are {label!r}\n"


def test_sql_may_come_from_standard_input_and_columns_may_share_a_name(output: Path) -> None:
    sql = "SELECT 1 AS a, 2 AS a -- a comment\n"
    assert rows(output, "-", stdin=sql) == [{"a": 1, "a_1": 2}]


@pytest.mark.parametrize(
    "sql",
    [
        "DESCRIBE current",
        "SHOW TABLES",
        "SUMMARIZE runs",
        "VALUES (1), (2)",
        "SELECT 1;",
        "FROM runs",
    ],
)
def test_every_kind_of_question_is_answered(output: Path, sql: str) -> None:
    assert len(rows(output, sql)) >= 1


HERE = "{output}/predictions/new.parquet"
OWN = "{output}/predictions/{run}/part-00000-00000.parquet"


@pytest.mark.parametrize(
    "sql",
    [
        f"COPY (SELECT 1) TO '{HERE}'",
        f"COPY (SELECT 1) TO '{OWN}'",
        f"WITH x AS (COPY (SELECT 1) TO '{HERE}') FROM x",
        f"WITH x AS (COPY (SELECT 1) TO '{OWN}') FROM x",
        "WITH x AS (DELETE FROM runs RETURNING *) FROM x",
        f"SELECT 1) ; COPY (SELECT 1) TO '{HERE}'; SELECT * FROM (SELECT 1",
        f"SELECT 1; COPY (SELECT 1) TO '{HERE}'",
        f"EXPLAIN ANALYZE COPY (SELECT 1) TO '{HERE}'",
        f"FROM query('COPY (SELECT 1) TO ''{HERE}''')",
        "INSERT INTO runs (run_id) VALUES ('x')",
        "INSERT INTO predictions (uri) VALUES ('x')",
        "DROP VIEW current",
        "CREATE TABLE x (a INT)",
        f"ATTACH '{HERE}' AS x",
        f"EXPORT DATABASE '{HERE}'",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "INSTALL httpfs",
        "LOAD httpfs",
        "PRAGMA database_list",
        "FROM read_text('/etc/passwd')",
        "FROM '/etc/passwd.csv'",
        "FROM glob('/etc/*')",
        "FROM read_text('{output}/runs/*')",
        "FROM read_parquet('{output}/predictions/../../secret.parquet')",
        "FROM 'http://127.0.0.1:9/x.parquet'",
        "CALL pragma_version()",
        "",
    ],
)
def test_nothing_else_is_read_and_nothing_at_all_is_written(
    output: Path, tmp_path: Path, sql: str
) -> None:
    copy = tmp_path / "out"
    shutil.copytree(output, copy)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "secret.parquet")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (folder, *_) = sorted((copy / "predictions").iterdir())
    refused(copy, sql.format(output=copy, run=folder.name))
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["SELECT lable FROM current"], 'Referenced column "lable" not found in FROM clause! '),
        (["SELECT lable FROM current"], 'Candidate bindings: "label"'),
        (["FROM predictionss"], 'predictionss does not exist! Did you mean "predictions"?'),
        (["SELEC 1"], 'Parser Error: syntax error at or near "SELEC"'),
        (["SELECT CAST(uri AS INT) FROM current"], "Conversion Error: Could not convert string"),
        (["SELECT regexp_matches('a', '[')"], "Invalid Input Error: missing ]"),
        (["SELECT 1; SELECT 2"], "SQL must be one statement, not 2"),
        (["DROP VIEW current"], "only queries are answered, and this is DROP: begin with SELECT"),
        (["FROM runs", "--label", "cat"], "--label and SQL exclude each other"),
        (["--failed", "--label", "cat"], "--label and --failed exclude each other"),
        (["--min-score", "50"], "--min-score 50 must be from 0 to 1"),
        (["--limit", "0"], "--limit 0 must be at least 1"),
        (["--faild"], "no such option: --faild (did you mean '--failed'?)"),
        (["--min_score", "1"], "no such option: --min_score (did you mean '--min-score'?)"),
        (["--bigquery", "d"], "does not begin with gs://"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_question_names_the_cause_in_one_line(
    output: Path, options: Sequence[str], message: str
) -> None:
    assert message in refused(output, *options)


def test_a_folder_without_predictions_says_how_to_make_some(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        message = refused(folder)
        assert message.startswith(f"'{folder}' holds no predictions")
        assert f"python -m pipeline.run --input photos/ --output {folder}" in message
    assert "missing argument 'OUTPUT'" in refused()


@pytest.mark.parametrize("which", [0, -1])  # columns are those of the first
def test_a_broken_part_file_is_exit_code_1_naming_it(
    output: Path, tmp_path: Path, which: int
) -> None:
    copy = tmp_path / "out"
    shutil.copytree(output, copy)
    part = sorted((copy / "predictions").rglob("*.parquet"))[which]
    part.write_bytes(part.read_bytes()[:100])
    assert str(part) in refused(copy, "SELECT count(*) FROM predictions", code=1)


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # as in test_storage_gcs
def test_an_output_on_cloud_storage_gives_the_same_answers(output: Path, cloud: Proxy) -> None:
    bucket = storage.Client("test", credentials=AnonymousCredentials()).create_bucket("queried")
    for path in output.rglob("*"):
        if path.is_file():
            bucket.blob(f"out/{path.relative_to(output)}").upload_from_filename(path)
    sql = "SELECT uri, score, run_id, last_modified FROM current ORDER BY uri"
    assert rows("gs://queried/out", sql) == rows(output, sql)
    assert rows("gs://queried/out/") == rows(output)


def test_the_statement_for_bigquery_needs_no_output_to_be_there() -> None:
    result = invoke("gs://bucket/o'out/", "--bigquery", "my-project.set")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "CREATE EXTERNAL TABLE `my-project.set.predictions`\n"
        "WITH PARTITION COLUMNS (run_id STRING)\n"
        "OPTIONS (\n"
        "  format = 'PARQUET',\n"
        "  uris = ['gs://bucket/o\\'out/predictions/*'],\n"
        "  hive_partition_uri_prefix = 'gs://bucket/o\\'out/predictions',\n"
        "  enable_list_inference = true\n"
        ");\n"
    )
    assert "must be DATASET or PROJECT.DATASET" in refused("gs://b/o", "--bigquery", "a`b")


def test_every_format_says_the_same(output: Path) -> None:
    sql = "SELECT uri, label, error FROM current ORDER BY uri"
    expected = [list(row.values()) for row in rows(output, sql)]
    lines = invoke(output, sql, "--ndjson").stdout.splitlines()
    assert [list(json.loads(line).values()) for line in lines] == expected
    _, *table = csv.reader(io.StringIO(invoke(output, sql, "--csv").stdout))
    assert table == [["" if value is None else value for value in row] for row in expected]
    assert len(invoke(output, sql, "--table").stdout.splitlines()) == 15
    assert len(invoke(output, sql, "--markdown").stdout.splitlines()) == 16


def test_the_output_pipes_into_jq_and_head(output: Path) -> None:
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    command = f"{sys.executable} -m pipeline.query {output}"
    script = f"set -o pipefail; {command} 'FROM current' --ndjson | jq -r .uri | head -1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert name(done.stdout.strip()) in os.listdir(output.parent / "in")


def test_every_reader_sees_the_same_rows(output: Path) -> None:
    folder = output / "predictions"

    def ordered(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(found, key=lambda row: (row["uri"], row["run_id"]))

    found = duckdb.connect().execute(f"SELECT * FROM '{folder}/*/*.parquet'")
    columns = [column[0] for column in found.description]
    by_duckdb = ordered([dict(zip(columns, row, strict=True)) for row in found.fetchall()])
    by_pyarrow = ordered(
        ds.dataset(folder, format="parquet", partitioning="hive").to_table().to_pylist()
    )
    by_polars = ordered(polars.read_parquet(folder, hive_partitioning=True).to_dicts())
    frame = pandas.read_parquet(folder)
    by_pandas = ordered([_without_nan(row) for row in frame.to_dict("records")])

    assert len(by_duckdb) == 15
    assert set(by_duckdb[0]) == {*SCHEMA.names, "run_id"}
    assert by_duckdb == by_pyarrow == by_polars == by_pandas
    assert by_duckdb[0]["last_modified"].utcoffset() == datetime.timedelta(0)


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    """A row of pandas, which has no integers with gaps and says NaN for null."""
    plain: dict[str, Any] = {}
    for key, value in row.items():
        if key == "top_k":
            plain[key] = None if value is None else list(value)
        elif pandas.isna(value):
            plain[key] = None
        else:
            is_whole = key in ("class_index", "width", "height", "byte_size")
            plain[key] = int(value) if is_whole else value
    return plain


@pytest.mark.slow
def test_a_million_rows_in_a_gigabyte(run: Command, tmp_path: Path) -> None:
    images, size = 1_000_000, 4096
    for run_id, count in (("r-20261123T101500-aaaa", images), ("r-20261124T101500-bbbb", 100_000)):
        folder = tmp_path / "predictions" / f"run_id={run_id}"
        folder.mkdir(parents=True)
        for shard, start in enumerate(range(0, count, size)):
            numbers = range(start, min(start + size, count))
            table = {
                "uri": [f"gs://bucket/2026/IMG_{number:09d}.jpg" for number in numbers],
                "label": [None if n % 100 == 0 else f"label {n % 997}" for n in numbers],
                "score": [None if n % 100 == 0 else n % 1000 / 1000 for n in numbers],
                "error": ["truncated" if n % 100 == 0 else None for n in numbers],
            }
            nulls = [None] * len(numbers)
            arrays = [
                pa.array(
                    table.get(field.name, [""] * len(numbers) if not field.nullable else nulls)
                ).cast(field.type)
                for field in SCHEMA
            ]
            part = pa.table(arrays, schema=SCHEMA)
            pq.write_table(part, folder / f"part-00000-{shard:05d}.parquet", compression="zstd")
    done = run(str(tmp_path), "--json", module="pipeline.query")
    counts = {row["name"]: row["images"] for row in json.loads(done.out)}
    assert (counts["predicted"], counts["failed"]) == (990_000, 10_000)
    assert counts["r-20261124T101500-bbbb"] == 100_000
    done = run(str(tmp_path), "SELECT uri, run_id FROM current", "--csv", module="pipeline.query")
    assert (done.code, done.err, done.out.count("\n")) == (0, "", images + 1)
    assert done.out.count("bbbb") == 100_000
    kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert kilobytes < 1_000_000
