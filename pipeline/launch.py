"""Runs the pipeline and accounts for it."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any, NamedTuple

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from pipeline import __version__
from pipeline.account import Account, read_account, write_run
from pipeline.config import Config, UsageError
from pipeline.graph import build
from pipeline.lost_workers import notice_lost_workers
from pipeline.preflight import check_config, check_output, check_sources
from pipeline.progress import shown_progress
from pipeline.run_ids import new_run_id
from transforms.models.artifact import Artifact
from transforms.models.errors import ModelError
from transforms.models.resolve import resolve_model
from transforms.storage import join, storage_for
from transforms.write_shards import run_folder

Say = Callable[[str], None]


class Outcome(NamedTuple):
    """A run that has ended."""

    run_id: str
    model: str
    seconds: float  # of the pipeline itself, listing to last file
    account: Account

    @property
    def images_per_second(self) -> float:
        """Rows written in this run for each second."""
        return (self.account.predicted + self.account.failed) / self.seconds


class RunFailedError(Exception):
    """A run that ended before its account; the cause is chained. Finished shards are kept."""

    def __init__(self, run_id: str, finished: int) -> None:
        """`finished` is the number of shards that lie in the output folder."""
        super().__init__(f"{run_id} ended after {finished} shards")
        self.run_id = run_id
        self.finished = finished


def launch(config: Config, say: Say) -> Outcome:
    """Checks, resolves the model, runs and reads back what was written.

    Raises:
        UsageError: nothing has run, because something cannot be as asked for.
        RunFailedError: it began, and ended before its time.
    """
    check_config(config)
    check_sources(config)
    earlier = check_output(config)
    try:
        artifact = resolve_model(config.model_choice(), say)
    except ModelError as error:
        raise UsageError(str(error)) from error
    started = datetime.now(timezone.utc)
    run_id = new_run_id(earlier, started)
    try:
        seconds = _run(config, artifact, run_id)
        account = read_account(config.output, run_id)
        outcome = Outcome(run_id, artifact.model, seconds, account)
        write_run(config.output, run_id, _facts(config, artifact, outcome, started))
    # Whatever comes out of a runner, Ctrl-C included: what it has written stays.
    except (Exception, KeyboardInterrupt) as error:
        raise RunFailedError(run_id, _finished_shards(config.output, run_id)) from error
    return outcome


def _finished_shards(output: str, run_id: str) -> int:
    try:
        return len(storage_for(output).names(join(output, run_folder(run_id))))
    except OSError:  # whatever ended the run may be in the way of this as well
        return 0


def _run(config: Config, artifact: Artifact, run_id: str) -> float:
    # Beam warns of what no user can change, and logs what it then raises, from many threads.
    logging.getLogger().setLevel(logging.CRITICAL)
    threading.excepthook = lambda _: None
    notice_lost_workers()
    # `DirectRunner` would first try to download another runner: the in-process one is pinned.
    runner = FnApiRunner() if config.is_local else config.runner
    p = beam.Pipeline(runner=runner, options=PipelineOptions(list(config.beam_options)))
    build(p, config, artifact, run_id)
    started = time.monotonic()
    with shown_progress():
        try:
            p.run().wait_until_finish()
        except grpc.RpcError as error:
            raise RuntimeError(f"the job service is gone: {error.details()}") from error
    return time.monotonic() - started


def _facts(
    config: Config, artifact: Artifact, outcome: Outcome, started: datetime
) -> dict[str, Any]:
    account = outcome.account
    return {
        "complete": not account.differences,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(outcome.seconds, 3),
        "images_per_second": round(outcome.images_per_second, 1),
        "listed": account.listed,
        "duplicates": account.duplicates,
        "predicted": account.predicted,
        "failed": account.failed,
        "skipped": account.skipped,
        "errors": account.errors,
        "differences": list(account.differences),
        "model": artifact.model,
        "engine": artifact.engine,
        "classes": len(artifact.labels),
        "configuration": asdict(config),
        "versions": {
            "mobilenet-beam": __version__,
            **{name: version(name) for name in _REPORTED_PACKAGES},
        },
        "files": [file._asdict() for file in account.files],
    }


_REPORTED_PACKAGES = ("apache-beam", "tensorflow", "ai-edge-litert", "pillow", "pyarrow")
