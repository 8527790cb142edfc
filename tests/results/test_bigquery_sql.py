"""bigquery.sql: read as BigQuery's, its views run over real output in DuckDB."""

import shutil
from pathlib import Path
from string import Template

import duckdb
import pytest
import sqlglot
from click.testing import CliRunner
from sqlglot import exp

from pipeline.run import main
from tests.helpers.model_fixtures import PHOTOS, ROOT, TinyModel

NAMES = {"DATASET": "images", "OUTPUT": "gs://bucket/out"}
TEXT = (ROOT / "deploy" / "bigquery.sql").read_text()
SQL = Template(TEXT).substitute(NAMES)


def views() -> dict[str, exp.Expression]:
    """The queries of the two views, by name."""
    found = {}
    for statement in SQL.split(";\n"):
        if "CREATE OR REPLACE VIEW" in statement:
            parsed = sqlglot.parse_one(statement, dialect="bigquery")
            found[parsed.this.name] = parsed.expression
    return found


def test_only_the_two_names_are_to_be_filled_in() -> None:
    assert set(Template(TEXT).get_identifiers()) == set(NAMES)
    assert "${" not in SQL


def test_the_external_table_reads_the_layout_that_a_run_writes() -> None:
    # sqlglot knows no external tables: this is compared with BigQuery's documentation, as text.
    (statement,) = [each for each in SQL.split(";\n") if "EXTERNAL TABLE" in each]
    words = " ".join(statement.split())
    assert "WITH PARTITION COLUMNS (run_id STRING)" in words
    for option in (
        "format = 'PARQUET'",
        "uris = ['gs://bucket/out/predictions/*']",
        "hive_partition_uri_prefix = 'gs://bucket/out/predictions'",
        "enable_list_inference = TRUE",
    ):
        assert option in words


@pytest.mark.usefixtures("own_caches")
def test_current_is_the_row_of_the_latest_run_and_errors_are_its_failures(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    shutil.copy(PHOTOS / "cat.jpg", folder / "kept.jpg")
    shutil.copy(PHOTOS / "cat.jpg", folder / "spoilt.jpg")
    (folder / "mended.jpg").write_text("<html>not a picture</html>")
    options = ["--input", str(folder), "--output", str(out), *tiny_model.options()]
    assert CliRunner().invoke(main, options).exit_code == 0
    shutil.copy(PHOTOS / "rocket.jpg", folder / "mended.jpg")
    (folder / "spoilt.jpg").write_bytes(b"")
    result = CliRunner().invoke(main, [*options, "--resume", "--retry-all-errors"])
    assert result.exit_code == 0, result.stderr

    db = duckdb.connect()
    db.execute("CREATE SCHEMA images")
    parts = f"{out}/predictions/*/*.parquet"
    db.execute(
        f"CREATE VIEW images.predictions AS FROM read_parquet('{parts}', hive_partitioning = true)"
    )
    for name, query in views().items():
        db.execute(f'CREATE VIEW images."{name}" AS {query.sql("duckdb")}')

    (rows,) = db.execute("SELECT count(*) FROM images.predictions").fetchone() or (0,)
    first, second = sorted(path.name.removeprefix("run_id=") for path in out.glob("predictions/*"))
    current = db.execute(
        'SELECT parse_filename(uri), error, run_id FROM images."current" ORDER BY uri'
    ).fetchall()
    assert current == [
        ("kept.jpg", None, first),
        ("mended.jpg", None, second),
        ("spoilt.jpg", "empty", second),
    ]
    assert rows == 5
    errors = db.execute(
        'SELECT parse_filename(uri), error, error_stage, retryable, run_id FROM images."errors"'
    ).fetchall()
    assert errors == [("spoilt.jpg", "empty", "read", False, second)]
