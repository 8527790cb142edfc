"""Runs the pipeline and accounts for it."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import NamedTuple

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from pipeline.config import Config, UsageError
from pipeline.dataflow.options import dataflow_options, has_siblings
from pipeline.graph import build
from pipeline.running.account import Account, read_account, write_run
from pipeline.running.lost_workers import notice_lost_workers
from pipeline.running.metrics import Metrics, metrics_of
from pipeline.running.preflight import check_config, check_output, check_sources
from pipeline.running.progress import shown_progress
from pipeline.running.run_facts import Start, write_start
from pipeline.running.run_ids import new_run_id
from transforms.layout import run_folder
from transforms.models.artifact import Artifact
from transforms.models.errors import ModelError
from transforms.models.publish import publish_network
from transforms.models.resolve import resolve_model
from transforms.storage import join, storage_for

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
        tried = self.account.predicted + self.account.failed
        return tried / self.seconds if self.seconds else 0.0


class RunFailedError(Exception):
    """A run that ended before its account; the cause is chained. Finished shards are kept."""

    def __init__(self, start: Start, finished: int) -> None:
        """`finished` is the number of shards that lie in the output folder."""
        super().__init__(f"{start.run_id} ended after {finished} shards")
        self.start = start
        self.finished = finished


def launch(config: Config, say: Say) -> Outcome | Start:
    """Checks, resolves the model, runs and reads back what was written.

    What comes back has ended, or only started: on Dataflow nobody needs to wait for it.

    Raises:
        UsageError: nothing has run, because something cannot be as asked for.
        RunFailedError: it began, and ended before its time.
    """
    check_config(config)
    check_sources(config)
    earlier = check_output(config)
    artifact = _artifact(config, say)
    now = datetime.now(timezone.utc)
    start = Start.of(config, artifact, new_run_id(earlier, now), now)
    # Beam warns of what no user can change, and logs what it then raises.
    logging.getLogger().setLevel(logging.CRITICAL + 1)
    # The threads that talk to other processes print what they die of, and then the run raises it.
    if not config.is_local or has_siblings(config):
        threading.excepthook = lambda _: None
    with _failing_as(start):
        if not config.is_dataflow:
            return _conclude(start, *_run(config, artifact, start.run_id))
        start = _submit(config, artifact, start)
    with _failing_as(start):
        write_start(start)
    return start if start.job is None or config.no_wait else finish(start, say)


def finish(start: Start, say: Say) -> Outcome:
    """Waits for the job of a run, if it has one that is known, and accounts for it.

    Raises:
        RunFailedError: the job failed, or nobody waited for its end.
    """
    with _failing_as(start):
        if start.job is None:
            return _conclude(start, 0.0, None)
        from pipeline.dataflow.job import follow  # Dataflow's client takes a second to import

        say(f"job {start.job.id}: {start.job.link}")
        return _conclude(start, *follow(start.job, start.config.beam_options, say))


@contextmanager
def _failing_as(start: Start) -> Iterator[None]:
    try:
        yield
    # Whatever comes out of a runner, Ctrl-C included: what it has written stays.
    except (Exception, KeyboardInterrupt) as error:
        raise RunFailedError(start, _finished_shards(start)) from error


def _finished_shards(start: Start) -> int:
    output = start.config.output
    try:
        return len(storage_for(output).names(join(output, run_folder(start.run_id))))
    except OSError:  # whatever ended the run may be in the way of this as well
        return 0


def _conclude(start: Start, seconds: float, metrics: Metrics | None) -> Outcome:
    """Accounts for a run that has ended after `seconds`, and puts its runs/<run>.json in place."""
    account = read_account(start.config.output, start.run_id)
    outcome = Outcome(start.run_id, start.model, seconds, account)
    facts = {
        "complete": not account.differences,
        "seconds": round(seconds, 3),
        "images_per_second": round(outcome.images_per_second, 1),
        "listed": account.listed,
        "duplicates": account.duplicates,
        "predicted": account.predicted,
        "failed": account.failed,
        "skipped": account.skipped,
        "skipped_errors": account.skipped_errors,
        "errors": account.errors,
        "differences": list(account.differences),
        "metrics": metrics.facts() if metrics else {},
        "files": [file._asdict() for file in account.files],
    }
    write_run(start.config.output, start.run_id, start.facts() | facts)
    return outcome


def _artifact(config: Config, say: Say) -> Artifact:
    try:
        artifact = resolve_model(config.model_choice(), say)
    except ModelError as error:
        raise UsageError(str(error)) from error
    options = PipelineOptions(list(config.beam_options))
    temporary = options.view_as(GoogleCloudOptions).temp_location
    if config.is_local or not temporary:
        return artifact
    try:
        return publish_network(artifact, temporary)
    except (OSError, ValueError) as error:
        raise UsageError(f"--temp_location {temporary!r} cannot be written: {error}") from error


def _submit(config: Config, artifact: Artifact, start: Start) -> Start:
    from pipeline.dataflow.job import submit

    p = beam.Pipeline(options=PipelineOptions(dataflow_options(config, start.run_id)))
    build(p, config, artifact, start.run_id)
    return start._replace(job=submit(p))


def _run(config: Config, artifact: Artifact, run_id: str) -> tuple[float, Metrics]:
    notice_lost_workers()
    # `DirectRunner` would first try to download another runner: the in-process one is pinned.
    runner = FnApiRunner() if config.is_local else config.runner
    p = beam.Pipeline(runner=runner, options=PipelineOptions(list(config.beam_options)))
    build(p, config, artifact, run_id)
    started = time.monotonic()
    with shown_progress():
        try:
            result = p.run()
            result.wait_until_finish()
            return time.monotonic() - started, metrics_of(result)
        except grpc.RpcError as error:
            raise RuntimeError(f"the job service is gone: {error.details()}") from error
