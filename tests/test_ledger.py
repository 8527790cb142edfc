import json
from pathlib import Path

from apache_beam import Create, Pipeline
from apache_beam.coders.typecoders import registry

from transforms.layout import ledger_name, run_name
from transforms.ledger import (
    DIGESTS,
    LedgerLine,
    WriteLedger,
    add_lines,
    read_ledger,
    uri_digest,
    write_ledger,
)

SHARD = LedgerLine("shard", "00001-00000", 1, 0, 7)
PART = LedgerLine("part", "p/1.parquet", 2, 0, DIGESTS - 1, 1)
MORE = LedgerLine("part", "p/1.parquet", 3, 0, 3, 1)
HELD = LedgerLine("part", "p/1.parquet", 0, 0, 0, held=9, held_digest=DIGESTS - 1)
BUCKETS = [LedgerLine("bucket", "00000", 5, 1, 1), LedgerLine("bucket", "00001", 1, 0, 7)]
ADDED = LedgerLine("part", "p/1.parquet", 5, 0, 2, 2, 9, DIGESTS - 1)
LINES = [line._asdict() for line in (*BUCKETS, ADDED, SHARD)]


def written(output: Path) -> list[dict[str, object]]:
    """The ledger's lines; there must be no other file."""
    (path,) = [path for path in output.rglob("*") if path.is_file()]
    assert path == output / ledger_name("r-1")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_names_are_below_the_output_folder() -> None:
    assert ledger_name("r-1") == "ledger/r-1.jsonl"
    assert run_name("r-1") == "runs/r-1.json"


def test_digest_is_that_of_the_set_of_uris() -> None:
    assert uri_digest([]) == 0
    assert uri_digest(["a", "b", "c"]) == uri_digest(iter("cab"))
    assert uri_digest(["a", "b"]) != uri_digest(["a", "c"])
    assert uri_digest(["a"]) == 4681665781835383343  # of `b2sum -l 64`
    assert 0 <= uri_digest(map(str, range(1000))) < 2**63


def test_lines_of_one_file_add_up() -> None:
    assert add_lines([PART, HELD, MORE]) == ADDED
    assert add_lines([SHARD]) == SHARD


def test_ledger_is_one_file_of_json_lines_in_order(tmp_path: Path) -> None:
    name = write_ledger([SHARD, BUCKETS[1], ADDED, BUCKETS[0]], str(tmp_path), "r-1")
    assert name == "ledger/r-1.jsonl"
    assert written(tmp_path) == LINES
    assert [line._asdict() for line in read_ledger(str(tmp_path), "r-1")] == LINES


def test_an_earlier_file_without_a_current_row_has_no_line(tmp_path: Path) -> None:
    write_ledger([HELD, SHARD], str(tmp_path), "r-1")
    assert read_ledger(str(tmp_path), "r-1") == [SHARD]


def test_the_largest_digest_is_kept_exactly() -> None:
    coder = registry.get_coder(LedgerLine)
    assert coder.decode(coder.encode(PART)) == PART


def test_transform_adds_what_several_buckets_say_of_a_file(p: Pipeline, tmp_path: Path) -> None:
    with p:
        lines = p | Create([PART, SHARD, MORE, HELD, *BUCKETS]).with_output_types(LedgerLine)
        _ = lines | WriteLedger(str(tmp_path), "r-1")
    assert written(tmp_path) == LINES


def test_no_shard_is_an_empty_ledger(p: Pipeline, tmp_path: Path) -> None:
    with p:
        _ = p | Create([]).with_output_types(LedgerLine) | WriteLedger(str(tmp_path), "r-1")
    assert written(tmp_path) == []
