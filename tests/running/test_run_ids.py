import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from pipeline.running.run_ids import earlier_run_ids, new_run_id

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=timezone.utc)


def test_id_tells_the_time_in_utc_and_is_no_number() -> None:
    assert re.fullmatch(r"r-20261123T120000-[0-9a-f]{4}", new_run_id([], NOON))
    berlin = NOON.astimezone(timezone(timedelta(hours=1)))
    assert new_run_id([], berlin).startswith("r-20261123T120000-")


@pytest.mark.parametrize(
    ("earlier", "time"),
    [
        (["r-20261123T115959-ffff"], "20261123T120000"),
        (["r-20261123T120000-ffff"], "20261123T120001"),
        (["r-20261123T120000-ffff", "r-20300101T000000-0000"], "20300101T000001"),
        (["compacted", "r-20261399T000000-x"], "20261123T120000"),
    ],
    ids=["before", "the same second", "a clock that went back", "names of others"],
)
def test_run_sorts_behind_every_earlier_one(earlier: list[str], time: str) -> None:
    assert new_run_id(earlier, NOON).startswith(f"r-{time}-")


def test_killed_runs_are_found_by_what_they_left(tmp_path: Path) -> None:
    for name in ("runs/r-1.json", "ledger/r-2.jsonl", "predictions/run_id=r-3/part-0.parquet"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.touch()
    assert earlier_run_ids(str(tmp_path)) == {"r-1", "r-2", "r-3"}
    assert earlier_run_ids(str(tmp_path / "none")) == set()
