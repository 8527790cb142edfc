"""Checks, claims the output, and runs the pipeline: from the options of a user to its outcome."""

import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult

from pipeline.console.stopping import on_stop, stop_this_process
from pipeline.dataflow.options import accelerator_hint, complete_options
from pipeline.graph import Labelling, Result, build
from pipeline.options import RunOptions, UsageError
from pipeline.running.claim import HeldOutput, claimed
from pipeline.running.metrics import Metrics, metrics_of
from pipeline.running.outcome import Outcome, conclude
from pipeline.running.preflight import (
    check_claimed,
    check_options,
    check_output,
    check_sources,
)
from pipeline.running.progress import shown_progress
from pipeline.running.run_facts import Job, Start, write_start
from pipeline.running.run_ids import listed_run_ids, new_run_id
from pipeline.running.run_log import RunLog
from pipeline.running.runner import Runner, model_choice
from pipeline.running.workers import notice_lost_workers, tended_workers
from transforms.decode_images import Preprocessing
from transforms.layout import run_folder
from transforms.list_images import sources_of
from transforms.models.artifact import Artifact
from transforms.models.publish import publish_network
from transforms.models.resolve import kept_classes, resolve_model
from transforms.storage import join, retries, storage_for

Say = Callable[[str], None]
MakeGraph = Callable[[beam.Pipeline], object]


class RunFailedError(Exception):
    """A run that ended before its account; the cause is chained. Finished shards are kept."""

    def __init__(self, start: Start, finished: int) -> None:
        """`finished` is the number of shards that lie in the output folder."""
        super().__init__(f"{start.run_id} ended after {finished} shards")
        self.start = start
        self.finished = finished


def launch(options: RunOptions, runner: Runner, say: Say, log: RunLog) -> Outcome | Start:
    """Checks, resolves the model, runs and reads back what was written.

    What comes back has ended, or only started: on Dataflow nobody needs to wait for it. `say` gets
    lines for the user, `log` what worker processes print.

    Raises:
        UsageError: nothing has run, because something cannot be as asked for.
        ModelError: nothing has run, because the model cannot be.
        RunFailedError: it began, and ended before its time.
    """
    on_stop(retries.shared.stop)
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
    is_over = partial(_is_over, options=runner.options, say=say)
    with claimed(start.output, start.run_id, say, is_over, stop_this_process) as held:
        there = check_claimed(start.output, start.run_id, options.resume)
        with _failing_as(start, held):
            if not runner.is_dataflow:
                ended = _run(runner, make_graph, log)
                return conclude(start, *ended, began_meanwhile=_others(start, there))
            start = start._replace(job=_submit(runner, start.run_id, make_graph))
        with _failing_as(start):
            write_start(start)
            if start.job is not None:
                held.pass_to(start.job)
    return start if start.job is None or options.no_wait else finish(start, runner.options, say)


def finish(start: Start, options: PipelineOptions, say: Say) -> Outcome:
    """Waits for the job of a run, if it has one that is known, and accounts for it.

    `options` are Beam's, by which the service is found.

    Raises:
        RunFailedError: the job failed, or nobody waited for its end.
    """
    with _failing_as(start):
        if start.job is None:
            return conclude(start, 0.0, None)
        from pipeline.dataflow.job import follow  # Dataflow's client takes a second to import

        say(f"job {start.job.id}: {start.job.link}")
        return conclude(start, *follow(start.job, options, say))


@contextmanager
def _failing_as(start: Start, held: HeldOutput | None = None) -> Iterator[None]:
    try:
        yield
    # Whatever comes out of a runner, Ctrl-C included: what it has written stays.
    except (Exception, KeyboardInterrupt) as error:
        cause = (held and held.loss) or error
        raise RunFailedError(start, _finished_shards(start)) from cause


def _finished_shards(start: Start) -> int:
    try:
        return len(storage_for(start.output).names(join(start.output, run_folder(start.run_id))))
    except OSError:  # whatever ended the run may be in the way of this as well
        return 0


def _others(start: Start, there: Set[str]) -> list[str]:
    """Runs that have begun since those that were `there`, which a claim should have prevented."""
    return sorted(listed_run_ids(start.output) - there - {start.run_id})


def _is_over(job: Job, options: PipelineOptions, say: Say) -> bool:
    from pipeline.dataflow.job import is_over  # Dataflow's client takes a second to import

    return is_over(job, options, say)


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


def _run(runner: Runner, make_graph: MakeGraph, log: RunLog) -> tuple[float, Metrics]:
    notice_lost_workers()
    # `DirectRunner` would first try to download another runner: the in-process one is pinned.
    p = beam.Pipeline(
        runner=FnApiRunner() if runner.is_local else runner.name, options=runner.options
    )
    make_graph(p)
    started = time.monotonic()
    with shown_progress(), tended_workers(log):
        try:
            result = p.run()
            with _cancelled_on_stop(result):
                result.wait_until_finish()
            return time.monotonic() - started, metrics_of(result)
        except grpc.RpcError as error:
            raise RuntimeError(f"the job service is gone: {error.details()}") from error


@contextmanager
def _cancelled_on_stop(result: PipelineResult) -> Iterator[None]:
    """A job that runs elsewhere does not go on when whoever waits for it is told to stop."""
    try:
        yield
    except KeyboardInterrupt:
        result.cancel()
        raise
