"""Every name in an output folder.

predictions/run_id=<run>/part-<shard>.parquet   the rows: nothing but whole files lies here
ledger/<run>.jsonl                              what was listed, cut into shards and skipped
ledger/<run>.json                               how the run was started
ledger/claim-<number>.json                      which run is at work here: the highest number counts
runs/<run>.json                                 written last: the run is complete
.staging-*                                      files that are being written
"""

import re
import uuid
from typing import Final

PREDICTIONS: Final = "predictions"
RUN_FOLDER: Final = "run_id="  # below `PREDICTIONS`, by Hive's convention
LEDGERS: Final = "ledger"
RUNS: Final = "runs"
RUN_PREFIX: Final = "r-"  # of every run's id
CLAIMS: Final = f"{LEDGERS}/claim-"
STAGING: Final = ".staging-"  # directly in the output folder, where no reader looks
PARTS: Final = f"{PREDICTIONS}/*/*.parquet"  # every part file, as a glob

_PART: Final = re.compile(RUN_FOLDER + r"([^/]+)/part-[^/]+\.parquet")


def run_folder(run_id: str) -> str:
    """The folder of a run's part files below the output folder."""
    return f"{PREDICTIONS}/{RUN_FOLDER}{run_id}"


def part_name(shard: str, run_id: str) -> str:
    """A shard's file below the output folder."""
    return f"{run_folder(run_id)}/part-{shard}.parquet"


def run_of_part(name: str) -> str | None:
    """The run that a file below `PREDICTIONS` is a part of; None if it is no part file."""
    match = _PART.fullmatch(name)
    return match[1] if match else None


def ledger_name(run_id: str) -> str:
    """The ledger's file below the output folder."""
    return f"{LEDGERS}/{run_id}.jsonl"


def start_name(run_id: str) -> str:
    """The file below the output folder that says how a run was started."""
    return f"{LEDGERS}/{run_id}.json"


def claim_name(number: int) -> str:
    """The file below the output folder by which a run holds that folder."""
    return f"{CLAIMS}{number:05d}.json"


def run_name(run_id: str) -> str:
    """The run's own file below the output folder."""
    return f"{RUNS}/{run_id}.json"


def staging_name() -> str:
    """A name in the output folder that no other writer has."""
    return STAGING + uuid.uuid4().hex


def own_prefixes() -> tuple[str, ...]:
    """What the names of all files that runs write begin with, below the output folder.

    Nothing but these: an output folder may have been somebody's folder of images before.
    """
    runs = (f"{folder}/{RUN_PREFIX}" for folder in (LEDGERS, RUNS))
    return (f"{PREDICTIONS}/{RUN_FOLDER}", *runs, CLAIMS, STAGING)
