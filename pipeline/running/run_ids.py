"""Run ids: a time and four random digits. Each sorts after those of all earlier runs."""

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
    """Such as r-20261123T101500-a1b2, which no reader takes for a number.

    The rows of the latest run are the current ones. So the time is later than that of all `earlier`
    runs even if the clock was set back, or if they began in the same second.
    """
    times = [_time_of(run_id) for run_id in earlier]
    time = max([now.astimezone(timezone.utc), *(t + _SECOND for t in times if t is not None)])
    return f"{RUN_PREFIX}{time:{_TIME}}-{secrets.token_hex(2)}"


def earlier_run_ids(output: str) -> set[str]:
    """The runs that wrote anything below `output`, complete or not.

    Raises:
        OSError: it cannot be listed.
        ValueError: there can be no such folder.
    """
    found = _run_ids_in(output, RUNS) | listed_run_ids(output)
    return found | {
        name.partition("/")[0].removeprefix(RUN_FOLDER)
        for name in storage_for(output).names(join(output, PREDICTIONS))
        if name.startswith(RUN_FOLDER)
    }


def listed_run_ids(output: str) -> set[str]:
    """The runs that have listed their images, which each does before it writes anything else.

    Raises:
        OSError: they cannot be listed.
    """
    return _run_ids_in(output, LEDGERS)


def _run_ids_in(output: str, folder: str) -> set[str]:
    names = storage_for(output).names(join(output, folder))
    return {PurePosixPath(name).stem for name in names if name.startswith(RUN_PREFIX)}


def _time_of(run_id: str) -> datetime | None:
    match = _RUN_ID.match(run_id)
    try:
        return datetime.strptime(f"{match[1]}+0000", f"{_TIME}%z") if match else None
    except ValueError:
        return None
