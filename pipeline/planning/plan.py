"""`--dry-run`: what a run would take, from its own inputs, without running it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Final, NamedTuple

from apache_beam.options.pipeline_options import WorkerOptions

from pipeline.options import RunOptions, UsageError
from pipeline.planning.estimate import Estimate, Requests, here, on_workers, requests_for
from pipeline.planning.measure_rates import Rates, measure_rates
from pipeline.planning.prices import assumed, workers_to_compare
from pipeline.planning.survey import EarlierRows, Survey, survey
from pipeline.running.launch import Say
from pipeline.running.preflight import check_options, check_sources, check_unused
from pipeline.running.run_ids import earlier_run_ids
from pipeline.running.runner import Runner, model_choice
from transforms.cores import available_cores
from transforms.decode_images import Preprocessing
from transforms.earlier_rows import earlier_parts, earlier_rows
from transforms.list_images import Source, list_images, sources_of
from transforms.models.artifact import Artifact
from transforms.models.resolve import resolve_model

_SAMPLE: Final = 100  # images


class Plan(NamedTuple):
    """What `--dry-run` found and reckoned."""

    output: str
    model: str
    engine: str
    survey: Survey
    rates: Rates
    requests: Requests
    deadline_hours: float
    chosen_workers: int | None  # by the user; None: as many as the deadline needs
    estimates: tuple[Estimate, ...]  # the first is for this machine


def make_plan(options: RunOptions, runner: Runner, say: Say) -> Plan:
    """Lists, resolves the model, times a sample and reckons; writes nothing to the output.

    Raises:
        UsageError: the run would be refused, or nothing of its sample can be decoded.
        ModelError: the model cannot be.
    """
    check_options(options, runner)
    sources = sources_of(options.inputs, options.manifests, options.manifest_column)
    check_sources(sources)
    asked = runner.options.view_as(WorkerOptions)
    workers = workers_to_compare(runner.gpu, asked.machine_type, asked.disk_size_gb)
    chosen = asked.max_num_workers or asked.num_workers
    if chosen is None:
        _check_deadline(options.deadline_hours)
    parts = _earlier_parts(options.output, options.resume)
    artifact = resolve_model(model_choice(options, runner), say)
    for note in artifact.notes:
        say(note)
    if parts:
        say("reading the rows of earlier runs")
    earlier = _earlier_rows(options, parts, artifact.model)
    say("listing every input")
    found = _survey(sources, options.output, earlier)
    say(f"timing a sample of {len(found.sample):,} images")
    rates = _rates(options, artifact, found)
    requests = requests_for(found, options.shard_size, len(parts))
    estimates = [here(rates, available_cores(), found.due, requests)]
    for worker in workers if found.due else ():
        each = on_workers(worker, rates, found.due, requests, options.deadline_hours, chosen)
        estimates += [each] if each is not None else []
    return Plan(
        options.output,
        artifact.model,
        artifact.engine,
        found,
        rates,
        requests,
        options.deadline_hours,
        chosen,
        tuple(estimates),
    )


def _check_deadline(hours: float) -> None:
    start = assumed("startup_hours")
    if hours <= start:
        raise UsageError(
            f"--deadline-hours {hours:g} is over before a worker has started, which takes about "
            f"{start:g} h: give more"
        )


def _earlier_parts(output: str, resume: bool) -> list[str]:
    try:
        check_unused(output, earlier_run_ids(output), resume)
        return list(earlier_parts(output, run_id="")) if resume else []
    except (OSError, ValueError) as error:
        if not resume:  # a bucket that does not exist yet can be planned for
            return []
        raise UsageError(f"--output {output!r} cannot be listed: {error}") from error


def _earlier_rows(options: RunOptions, parts: Sequence[str], model: str) -> EarlierRows:
    with _refusing():
        rows = chain.from_iterable(earlier_rows(part, options.output, model) for part in parts)
        return EarlierRows(rows, options.retry_all_errors)


def _survey(sources: Sequence[Source], output: str, earlier: EarlierRows) -> Survey:
    with _refusing("the inputs cannot be listed: "):
        listed = chain.from_iterable(list_images(source, output) for source in sources)
        return survey(listed, _SAMPLE, earlier)


def _rates(options: RunOptions, artifact: Artifact, found: Survey) -> Rates:
    preprocessing = Preprocessing(artifact.image_size, options.resize, options.max_pixels)
    with _refusing("nothing to plan with: "):
        return measure_rates(
            found.sample, artifact, preprocessing, options.batch_size, options.max_bytes
        )


@contextmanager
def _refusing(what: str = "") -> Iterator[None]:
    """Turns what listing and measuring raise into wrong usage."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise UsageError(f"{what}{error}") from error
