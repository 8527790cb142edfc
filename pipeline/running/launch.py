"""Runs the pipeline and accounts for it."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from typing import NamedTuple

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from pipeline.dataflow.options import accelerator_hint, complete_options
from pipeline.graph import Labelling, Result, build
from pipeline.options import RunOptions, UsageError
from pipeline.running.account import Account, read_account, write_run
from pipeline.running.lost_workers import notice_lost_workers
from pipeline.running.metrics import Metrics, metrics_of
from pipeline.running.preflight import check_options, check_output, check_sources
from pipeline.running.progress import shown_progress
from pipeline.running.run_facts import Job, Start, write_start
from pipeline.running.run_ids import new_run_id
from pipeline.running.runner import Runner, model_choice
from transforms.decode_images import Preprocessing
from transforms.layout import run_folder
from transforms.list_images import sources_of
from transforms.models.artifact import Artifact
from transforms.models.publish import publish_network
from transforms.models.resolve import kept_classes, resolve_model
from transforms.storage import join, retries, storage_for

Say = Callable[[str], None]
MakeGraph = Callable[[beam.Pipeline], object]


class Outcome(NamedTuple):
    """A run that has ended."""

    run_id: str
    model: str
    seconds: float  # of the pipeline itself, listing to last file
    account: Account
    notes: tuple[str, ...] = ()  # what was found out on a model of the user's own

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


def launch(options: RunOptions, runner: Runner, say: Say) -> Outcome | Start:
    """Checks, resolves the model, runs and reads back what was written.

    What comes back has ended, or only started: on Dataflow nobody needs to wait for it.

    Raises:
        UsageError: nothing has run, because something cannot be as asked for.
        ModelError: nothing has run, because the model cannot be.
        RunFailedError: it began, and ended before its time.
    """
    check_options(options, runner)
    sources = sources_of(options.inputs, options.manifests, options.manifest_column)
    check_sources(sources)
    earlier = check_output(options.output, options.resume)
    artifact = _publish(resolve_model(model_choice(options, runner), say), runner)
    now = datetime.now(timezone.utc)
    start = Start.of(options, artifact, new_run_id(earlier, now), now)
    make_graph = partial(
        build,
        sources=sources,
        labelling=_labelling(options, artifact),
        result=_result(options, start.run_id),
        siblings=runner.has_siblings,
        accelerator=accelerator_hint(runner),
    )
    # Beam warns of what no user can change, and logs what it then raises.
    logging.getLogger().setLevel(logging.CRITICAL + 1)
    # The threads that talk to other processes print what they die of, and then the run raises it.
    if not runner.is_local or runner.has_siblings:
        threading.excepthook = lambda _: None
    with _failing_as(start):
        if not runner.is_dataflow:
            return _conclude(start, *_run(runner, make_graph))
        start = start._replace(job=_submit(runner, start.run_id, make_graph))
    with _failing_as(start):
        write_start(start)
    return start if start.job is None or options.no_wait else finish(start, runner.options, say)


def finish(start: Start, options: PipelineOptions, say: Say) -> Outcome:
    """Waits for the job of a run, if it has one that is known, and accounts for it.

    `options` are Beam's, by which the service is found.

    Raises:
        RunFailedError: the job failed, or nobody waited for its end.
    """
    with _failing_as(start):
        if start.job is None:
            return _conclude(start, 0.0, None)
        from pipeline.dataflow.job import follow  # Dataflow's client takes a second to import

        say(f"job {start.job.id}: {start.job.link}")
        return _conclude(start, *follow(start.job, options, say))


@contextmanager
def _failing_as(start: Start) -> Iterator[None]:
    try:
        yield
    # Whatever comes out of a runner, Ctrl-C included: what it has written stays.
    except (Exception, KeyboardInterrupt) as error:
        raise RunFailedError(start, _finished_shards(start)) from error


def _finished_shards(start: Start) -> int:
    try:
        return len(storage_for(start.output).names(join(start.output, run_folder(start.run_id))))
    except OSError:  # whatever ended the run may be in the way of this as well
        return 0


def _conclude(start: Start, seconds: float, metrics: Metrics | None) -> Outcome:
    """Accounts for a run that has ended after `seconds`, and puts its runs/<run>.json in place."""
    account = read_account(start.output, start.run_id)
    outcome = Outcome(start.run_id, start.model, seconds, account, start.notes)
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
    write_run(start.output, start.run_id, start.facts() | facts)
    return outcome


def _labelling(options: RunOptions, artifact: Artifact) -> Labelling:
    return Labelling(
        artifact,
        Preprocessing(artifact.image_size, options.resize, options.max_pixels),
        options.max_bytes,
        kept_classes(options.top_k, len(artifact.labels)),
        options.batch_size,
    )


def _result(options: RunOptions, run_id: str) -> Result:
    return Result(
        options.output, run_id, options.shard_size, options.resume, options.retry_all_errors
    )


def _publish(artifact: Artifact, runner: Runner) -> Artifact:
    """The artifact with its network where the workers can read it."""
    temporary = runner.options.view_as(GoogleCloudOptions).temp_location
    if runner.is_local or not temporary:
        return artifact
    try:
        return publish_network(artifact, temporary)
    except (OSError, ValueError) as error:
        raise UsageError(f"--temp_location {temporary!r} cannot be written: {error}") from error


def _submit(runner: Runner, run_id: str, make_graph: MakeGraph) -> Job | None:
    from pipeline.dataflow.job import submit

    complete_options(runner, run_id)
    p = beam.Pipeline(options=runner.options)
    make_graph(p)
    return submit(p)


def _run(runner: Runner, make_graph: MakeGraph) -> tuple[float, Metrics]:
    notice_lost_workers()
    # `DirectRunner` would first try to download another runner: the in-process one is pinned.
    p = beam.Pipeline(
        runner=FnApiRunner() if runner.is_local else runner.name, options=runner.options
    )
    make_graph(p)
    started = time.monotonic()
    with shown_progress(), retries.shared.ended_by_interrupts():
        try:
            result = p.run()
            result.wait_until_finish()
            return time.monotonic() - started, metrics_of(result)
        except grpc.RpcError as error:
            raise RuntimeError(f"the job service is gone: {error.details()}") from error
