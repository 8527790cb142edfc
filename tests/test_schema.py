from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.failures import Failure
from transforms.models.labels import Label
from transforms.records import ClassifiedImage, ListedImage, Prediction, Slot
from transforms.schema import SCHEMA, parquet_bytes, table_of

LABELS = (Label(0, "n01440764", "tench"), Label(1, None, "lynx, catamount"))
PREDICTED = ClassifiedImage(
    Slot("s", 2, ListedImage("/é.jpg", 123, 1_700_000_000_123_456)),
    640,
    480,
    "JPEG",
    (Prediction(1, 0.75), Prediction(0, 0.25)),
    None,
)
FAILED = ClassifiedImage(
    Slot("s", 2, ListedImage("/b.jpg")), None, None, None, (), Failure("unreadable", "read", "why")
)
PREDICTED_ROW = {
    "uri": "/é.jpg",
    "label": "lynx, catamount",
    "score": 0.75,
    "class_index": 1,
    "wnid": None,
    "top_k": [
        {"class_index": 1, "wnid": None, "label": "lynx, catamount", "score": 0.75},
        {"class_index": 0, "wnid": "n01440764", "label": "tench", "score": 0.25},
    ],
    "width": 640,
    "height": 480,
    "format": "JPEG",
    "byte_size": 123,
    "last_modified": pd.Timestamp("2023-11-14T22:13:20.123456Z").to_pydatetime(),
    "model": "mobilenet",
    "error": None,
    "error_stage": None,
    "error_message": None,
    "retryable": None,
}
FAILED_ROW = dict.fromkeys(PREDICTED_ROW) | {
    "uri": "/b.jpg",
    "model": "mobilenet",
    "error": "unreadable",
    "error_stage": "read",
    "error_message": "why",
    "retryable": True,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A part file of a prediction and a failure."""
    path = tmp_path / "predictions" / "run_id=r-20261123T101500-a1b2" / "part.parquet"
    path.parent.mkdir(parents=True)
    table = table_of([PREDICTED, FAILED], LABELS, "mobilenet")
    path.write_bytes(parquet_bytes(table))
    return path


def test_rows_are_read_back_as_they_were(path: Path) -> None:
    assert pq.ParquetFile(path).read().to_pylist() == [PREDICTED_ROW, FAILED_ROW]


def test_rows_keep_their_order_and_their_own_predictions() -> None:
    second = PREDICTED._replace(top_k=(Prediction(0, 1.0),))
    table = table_of([FAILED, PREDICTED, FAILED, second, PREDICTED], LABELS, "mobilenet")
    assert table.schema.equals(SCHEMA)
    best = [{"class_index": 0, "wnid": "n01440764", "label": "tench", "score": 1.0}]
    expected = [None, PREDICTED_ROW["top_k"], None, best, PREDICTED_ROW["top_k"]]
    assert table["top_k"].to_pylist() == expected
    assert table["label"].to_pylist() == [None, "lynx, catamount", None, "tench", "lynx, catamount"]
    assert table["wnid"].to_pylist() == [None, None, None, "n01440764", None]
    assert table["class_index"].to_pylist() == [None, 1, None, 0, 1]


def test_columns_have_the_types_of_the_contract(path: Path) -> None:
    types = {field.name: str(field.type) for field in pq.ParquetFile(path).schema_arrow}
    assert types == {
        "uri": "string",
        "label": "string",
        "score": "float",
        "class_index": "int32",
        "wnid": "string",
        "top_k": "list<element: struct<class_index: int32, wnid: string, "
        "label: string, score: float>>",
        "width": "int32",
        "height": "int32",
        "format": "string",
        "byte_size": "int64",
        "last_modified": "timestamp[us, tz=UTC]",
        "model": "string",
        "error": "string",
        "error_stage": "string",
        "error_message": "string",
        "retryable": "bool",
    }
    assert list(types) == SCHEMA.names


def test_file_is_zstd_with_compliant_lists_and_times_in_microseconds_utc(path: Path) -> None:
    file = pq.ParquetFile(path)
    group = file.metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert "top_k.list.element.class_index" in columns
    times = file.schema.column(list(columns).index("last_modified"))
    assert str(times.logical_type).startswith(
        "Timestamp(isAdjustedToUTC=true, timeUnit=microseconds"
    )
    assert "run_id" not in str(file.schema)


def test_a_file_of_failures_alone_has_the_same_schema() -> None:
    failed = parquet_bytes(table_of([FAILED], LABELS, "mobilenet"))
    predicted = parquet_bytes(table_of([PREDICTED], LABELS, "mobilenet"))
    schemas = [pq.ParquetFile(pa.BufferReader(each)).schema_arrow for each in (failed, predicted)]
    assert schemas[0].equals(schemas[1], check_metadata=True)


def test_pandas_opens_file_and_folder_with_no_options(path: Path) -> None:
    frame = pd.read_parquet(path)
    assert frame["uri"].tolist() == ["/é.jpg", "/b.jpg"]
    assert frame["top_k"][0][0]["label"] == "lynx, catamount"
    assert frame["last_modified"][0] == PREDICTED_ROW["last_modified"]
    folder = pd.read_parquet(path.parents[1])
    assert folder["run_id"].astype(str).tolist() == ["r-20261123T101500-a1b2"] * 2


def test_duckdb_opens_it_with_no_options(path: Path) -> None:
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")

    def query(what: str) -> list[Any]:
        return database.execute(f"SELECT {what} FROM '{path}'").fetchall()

    assert query("uri, label, error, top_k[2].label, top_k[1].score") == [
        ("/é.jpg", "lynx, catamount", None, "tench", 0.75),
        ("/b.jpg", None, "unreadable", None, None),
    ]
    assert query("typeof(last_modified), last_modified::VARCHAR")[0] == (
        "TIMESTAMP WITH TIME ZONE",
        "2023-11-14 22:13:20.123456+00",
    )
    everything = f"SELECT run_id, count(*) FROM '{path.parents[1]}/*/*.parquet' GROUP BY ALL"
    assert database.execute(everything).fetchall() == [("r-20261123T101500-a1b2", 2)]


def test_a_large_shard_is_cut_into_row_groups() -> None:
    content = parquet_bytes(table_of([FAILED] * 70_000, LABELS, "mobilenet"))
    metadata = pq.ParquetFile(pa.BufferReader(content)).metadata
    assert (metadata.num_rows, metadata.num_row_groups) == (70_000, 2)
