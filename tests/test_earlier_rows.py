from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam import Pipeline
from apache_beam.testing.util import assert_that, equal_to

from transforms.earlier_rows import ReadEarlierRows, earlier_parts, earlier_rows, is_current
from transforms.failures import Failure
from transforms.layout import part_name
from transforms.ledger import LedgerLine, uri_digest
from transforms.records import EarlierRow, ListedImage
from transforms.schema import SCHEMA, parquet_bytes

PREDICTION = EarlierRow("/a", "p", True, None, False, 10, 7)
NOT_FOUND = EarlierRow("/a", "p", True, "not_found", False, None, None)
CORRUPT = PREDICTION._replace(error="corrupt")
UNREADABLE = PREDICTION._replace(error="unreadable", retryable=True)
PLAIN, SEEN = ListedImage("/a"), ListedImage("/a", 10, 7)
LOST = ListedImage("/a", failure=Failure("not_found", "list", "a dangling link"))


@pytest.mark.parametrize(
    ("row", "image", "current"),
    [
        (PREDICTION, SEEN, True),
        (PREDICTION, PLAIN, True),
        (PREDICTION._replace(byte_size=None, last_modified=None), SEEN, True),
        (PREDICTION, SEEN._replace(byte_size=11), False),
        (PREDICTION, SEEN._replace(last_modified=8), False),
        (PREDICTION, SEEN._replace(last_modified=None), True),
        (PREDICTION, LOST, False),
        (PREDICTION._replace(is_same_model=False), SEEN, False),
        (CORRUPT, SEEN, True),
        (CORRUPT, PLAIN, True),
        (CORRUPT, SEEN._replace(last_modified=8), False),
        (CORRUPT._replace(is_same_model=False), SEEN, False),
        (UNREADABLE, SEEN, False),
        (NOT_FOUND, PLAIN, True),
        (NOT_FOUND, LOST, True),
        (NOT_FOUND, SEEN, False),
    ],
)
def test_row_is_current_unless_a_new_attempt_could_differ(
    row: EarlierRow, image: ListedImage, current: bool
) -> None:
    assert is_current(row, image, retry_all_errors=False) is current
    expected = current and row.error is None
    assert is_current(row, image, retry_all_errors=True) is expected


def part(output: Path, shard: str, run_id: str, uri: str, **columns: object) -> str:
    name = part_name(shard, run_id)
    (output / name).parent.mkdir(parents=True, exist_ok=True)
    write_rows(output / name, [{"uri": uri, "model": "m@1", **columns}])
    return name


def write_rows(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_bytes(parquet_bytes(pa.Table.from_pylist(rows, SCHEMA)))


def test_rows_are_read_with_their_file_and_microseconds(tmp_path: Path) -> None:
    name = part(tmp_path, "0", "r-1", "/a", byte_size=10, last_modified=1_700_000_000_000_007)
    failed = part(tmp_path, "1", "r-1", "/b", error="unreadable", retryable=True)
    out = str(tmp_path)
    assert list(earlier_rows(name, out, "m@1")) == [
        EarlierRow("/a", name, True, None, False, 10, 1_700_000_000_000_007)
    ]
    assert list(earlier_rows(failed, out, "m@2")) == [
        EarlierRow("/b", failed, False, "unreadable", True, None, None)
    ]


def test_part_files_of_all_other_runs_are_found(tmp_path: Path) -> None:
    found = [part(tmp_path, "0", run_id, "/a") for run_id in ("r-0", "r-1", "r-10")]
    part(tmp_path, "0", "r-2", "/a")
    (tmp_path / "predictions" / "notes.txt").touch()
    assert sorted(earlier_parts(str(tmp_path), "r-2")) == found


@pytest.mark.parametrize("content", [b"", b"PAR1 cut off", None], ids=["empty", "cut", "foreign"])
def test_a_part_file_that_is_none_says_what_to_do(tmp_path: Path, content: bytes | None) -> None:
    name = part(tmp_path, "0", "r-1", "/a")
    if content is None:
        pq.write_table(pa.table({"path": ["/a"]}), tmp_path / name)
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(OSError, match="restore it, or delete it to have its images classified"):
        list(earlier_rows(name, str(tmp_path), "m@1"))


def test_wherever_a_part_file_is_damaged_it_is_named_and_never_read_wrong(tmp_path: Path) -> None:
    name = part(tmp_path, "0", "r-1", "/" + "a" * 500, byte_size=10, last_modified=7)
    whole = (tmp_path / name).read_bytes()
    rows = list(earlier_rows(name, str(tmp_path), "m@1"))
    random = np.random.default_rng(0)
    for at in random.choice(len(whole), 300, replace=False):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << random.integers(8)
        (tmp_path / name).write_bytes(damaged)
        try:
            assert list(earlier_rows(name, str(tmp_path), "m@1")) == rows, at
        except OSError as error:
            assert str(tmp_path / name) in str(error), at


def test_a_row_without_a_uri_is_a_damaged_file(tmp_path: Path) -> None:
    name = part(tmp_path, "0", "r-1", "/a")
    table = pq.read_table(tmp_path / name)
    uris = pa.array([None], pa.string())
    pq.write_table(table.set_column(0, "uri", uris), tmp_path / name)
    with pytest.raises(OSError, match="a row has no uri"):
        list(earlier_rows(name, str(tmp_path), "m@1"))


def test_nothing_is_read_unless_the_run_resumes(p: Pipeline, tmp_path: Path) -> None:
    part(tmp_path, "0", "r-1", "/a")
    with p:
        fresh = p | ReadEarlierRows(str(tmp_path), "r-2", "m@1", resume=False)
        assert_that(fresh.rows, equal_to([]), label="no row")
        assert_that(fresh.held, equal_to([]), label="no file")


def test_a_resumed_run_gets_the_rows_and_what_each_file_holds(p: Pipeline, tmp_path: Path) -> None:
    name = part(tmp_path, "0", "r-1", "/a")
    rows: list[dict[str, object]] = [{"uri": uri, "model": "m@2"} for uri in ("/b", "/c")]
    write_rows(tmp_path / part_name("1", "r-1"), rows)
    other = part_name("1", "r-1")
    with p:
        earlier = p | ReadEarlierRows(str(tmp_path), "r-2", "m@1", resume=True)
        expected = [
            EarlierRow("/a", name, True, None, False, None, None),
            EarlierRow("/b", other, False, None, False, None, None),
            EarlierRow("/c", other, False, None, False, None, None),
        ]
        assert_that(earlier.rows, equal_to(expected), label="rows")
        held = [
            LedgerLine("part", name, 0, 0, 0, 0, 1, uri_digest(["/a"])),
            LedgerLine("part", other, 0, 0, 0, 0, 2, uri_digest(["/b", "/c"])),
        ]
        assert_that(earlier.held, equal_to(held), label="held")
