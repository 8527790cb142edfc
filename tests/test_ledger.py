import json
from pathlib import Path

from apache_beam import Create, Pipeline

from transforms.cut_shards import uri_digest
from transforms.ledger import (
    LedgerLine,
    WriteLedger,
    ledger_line,
    ledger_name,
    run_name,
    write_ledger,
)
from transforms.records import ListedImage, Shard

SHARDS = [
    Shard("00001-00000", [ListedImage("/c.jpg")], 0),
    Shard("00000-00000", [ListedImage("/a.jpg"), ListedImage("/b.jpg")], 3),
]
LINES = [
    {
        "shard": "00000-00000",
        "images": 2,
        "duplicates": 3,
        "digest": uri_digest(["/a.jpg", "/b.jpg"]),
    },
    {"shard": "00001-00000", "images": 1, "duplicates": 0, "digest": uri_digest(["/c.jpg"])},
]


def written(output: Path) -> list[dict[str, object]]:
    """The ledger's lines; there must be no other file."""
    (path,) = [path for path in output.rglob("*") if path.is_file()]
    assert path == output / ledger_name("r-1")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_names_are_below_the_output_folder() -> None:
    assert ledger_name("r-1") == "ledger/r-1.jsonl"
    assert run_name("r-1") == "runs/r-1.json"


def test_line_keeps_counts_and_the_digest_of_the_uris() -> None:
    assert [ledger_line(shard)._asdict() for shard in reversed(SHARDS)] == LINES


def test_ledger_is_one_file_of_json_lines_in_order(tmp_path: Path) -> None:
    write_ledger(map(ledger_line, SHARDS), str(tmp_path), "r-1")
    assert written(tmp_path) == LINES


def test_the_largest_digest_is_kept_exactly(tmp_path: Path) -> None:
    write_ledger([LedgerLine("s", 1, 0, 2**64 - 1)], str(tmp_path), "r-1")
    assert written(tmp_path)[0]["digest"] == 2**64 - 1


def test_transform_writes_every_shard_once(p: Pipeline, tmp_path: Path) -> None:
    with p:
        _ = p | Create(SHARDS).with_output_types(Shard) | WriteLedger(str(tmp_path), "r-1")
    assert written(tmp_path) == LINES


def test_no_shard_is_an_empty_ledger(p: Pipeline, tmp_path: Path) -> None:
    with p:
        _ = p | Create([]).with_output_types(Shard) | WriteLedger(str(tmp_path), "r-1")
    assert written(tmp_path) == []
