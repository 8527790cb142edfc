"""What a run is called: its time and four random digits, in an order that no clock can turn."""

import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import PurePosixPath
from typing import Final

from transforms.layout import LEDGERS, PREDICTIONS, RUN_FOLDER, RUN_PREFIX, RUNS
from transforms.storage import join, storage_for

_TIME: Final = "%Y%m%dT%H%M%S"
_RUN_ID: Final = re.compile(RUN_PREFIX + r"(\d{8}T\d{6})-")
_SECOND: Final = timedelta(seconds=1)


def new_run_id(earlier: Iterable[str], now: datetime) -> str:
    """Such as r-20261123T101500-a1b2: sorts by time, and no reader takes it for a number.

    The rows of the latest run are the current ones, so a run sorts behind all `earlier` ones
    even where the clock went back, or has not gone on since.
    """
    times = [_time_of(run_id) for run_id in earlier]
    time = max([now.astimezone(timezone.utc), *(t + _SECOND for t in times if t is not None)])
    return f"{RUN_PREFIX}{time:{_TIME}}-{secrets.token_hex(2)}"


def earlier_run_ids(output: str) -> set[str]:
    """The runs that left anything below `output`, whole or killed.

    Raises:
        OSError: it cannot be listed.
        ValueError: there can be no such folder.
    """
    storage = storage_for(output)
    found = {
        PurePosixPath(name).stem
        for folder in (RUNS, LEDGERS)
        for name in storage.names(join(output, folder))
        if name.startswith(RUN_PREFIX)
    }
    return found | {
        name.partition("/")[0].removeprefix(RUN_FOLDER)
        for name in storage.names(join(output, PREDICTIONS))
        if name.startswith(RUN_FOLDER)
    }


def _time_of(run_id: str) -> datetime | None:
    match = _RUN_ID.match(run_id)
    try:
        return datetime.strptime(f"{match[1]}+0000", f"{_TIME}%z") if match else None
    except ValueError:
        return None
