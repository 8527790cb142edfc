"""`--dry-run`: what a run would take, from its own inputs, without running it."""

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple

from apache_beam.options.pipeline_options import WorkerOptions

from pipeline.dataflow.gpus import Gpu
from pipeline.options import RunOptions, UsageError
from pipeline.planning.estimate import (
    Estimate,
    Requests,
    Speed,
    estimate,
    local_speed,
    requests_for,
    shuffled_gb,
    worker_speed,
)
from pipeline.planning.fetches import Fetches, count_objects, fetches_for
from pipeline.planning.measure_rates import Rates, measure_rates
from pipeline.planning.prices import Prices, Worker
from pipeline.planning.skipped import EarlierRows
from pipeline.planning.survey import Survey, survey
from pipeline.running.launch import Say
from pipeline.running.preflight import check_options, check_sources, check_unused
from pipeline.running.run_ids import earlier_run_ids
from pipeline.running.runner import Runner, model_choice
from transforms.cores import available_cores
from transforms.cut_shards import count_buckets
from transforms.decode_images import Preprocessing
from transforms.earlier_rows import earlier_parts, earlier_rows
from transforms.list_images import Source, list_images, sources_of
from transforms.models.artifact import Artifact
from transforms.models.resolve import kept_classes, resolve_model
from transforms.records import EarlierRow, ListedImage

_SAMPLE: Final = 100  # images


class Plan(NamedTuple):
    """What `--dry-run` found and reckoned; `here_hours` is for this machine."""

    survey: Survey
    model: str
    engine: str
    batches: int  # at least: a batch never crosses from one bundle to the next
    shards: int
    byte_size: int  # of the distinct images, partly or wholly from the sample's mean
    cores: int
    rates: Rates
    here: Speed
    here_hours: float
    deadline_hours: float
    chosen_workers: int | None  # by the user; None: as many as the deadline needs
    fetches: Fetches
    requests: Requests
    estimates: tuple[Estimate, ...]


def make_plan(options: RunOptions, runner: Runner, say: Say, prices: Prices) -> Plan:
    """Lists, resolves the model, times a sample and reckons; writes nothing to the output.

    Raises:
        UsageError: the run would be refused, or nothing of its sample can be decoded.
        ModelError: the model cannot be.
    """
    check_options(options, runner)
    sources = sources_of(options.inputs, options.manifests, options.manifest_column)
    check_sources(sources)
    workers = _workers(runner, prices)
    parts = _earlier_parts(options.output, options.resume)
    artifact = resolve_model(model_choice(options, runner), say)
    if parts:
        say("reading the rows of earlier runs")
    rows = chain.from_iterable(earlier_rows(p, options.output, artifact.model) for p in parts)
    earlier = _earlier_rows(rows, options.retry_all_errors)
    say("listing every input")
    surveyed = _survey(sources, options.output, earlier)
    say(f"timing a sample of {len(surveyed.sample):,} images")
    rates = _rates(options, artifact, surveyed)
    images = surveyed.due
    shards = count_shards(surveyed, options.shard_size)
    fetches = fetches_for(surveyed, options.shard_size, len(parts))
    requests = requests_for(fetches.gets, surveyed.objects, shards)
    chosen = _chosen_workers(runner)
    an_image = fetches.an_image(images)
    of_sample = an_image * len(surveyed.sample) / count_objects(surveyed.sample)
    here = local_speed(rates, available_cores(), prices, of_sample)
    return Plan(
        surveyed,
        artifact.model,
        artifact.engine,
        math.ceil(images / options.batch_size),
        shards,
        round(total_bytes(surveyed, rates)),
        available_cores(),
        rates,
        here,
        images / here.images_per_second / 3600,
        options.deadline_hours,
        chosen,
        fetches,
        requests,
        tuple(
            _estimates(
                *(workers, rates, surveyed, requests, an_image, prices),
                *(options.deadline_hours, chosen),
            )
        ),
    )


def count_shards(surveyed: Survey, shard_size: int) -> int:
    """Files of the result: exact for one bucket of URIs, else about right.

    Of each further bucket the last shard is on average half full.
    """
    full = surveyed.due / shard_size
    buckets = count_buckets(surveyed.listed, shard_size)
    return math.ceil(full) if buckets == 1 else round(full + buckets / 2)


def total_bytes(surveyed: Survey, rates: Rates) -> float:
    """Bytes of the distinct images, where the listing tells no sizes by the sample's mean."""
    readable = surveyed.listed - surveyed.failed
    unsized = (readable - surveyed.sized) * rates.mean_bytes * rates.read / rates.tried
    return (surveyed.byte_size + unsized) * surveyed.distinct / surveyed.listed


def _earlier_parts(output: str, resume: bool) -> list[str]:
    try:
        check_unused(output, earlier_run_ids(output), resume)
        return list(earlier_parts(output, run_id="")) if resume else []
    except (OSError, ValueError) as error:
        if not resume:  # the bucket may be planned as well
            return []
        raise UsageError(f"--output {output!r} cannot be listed: {error}") from error


def _earlier_rows(rows: Iterator[EarlierRow], retry_all_errors: bool) -> EarlierRows:
    try:
        return EarlierRows(rows, retry_all_errors)
    except OSError as error:
        raise UsageError(str(error)) from error


def _survey(sources: Sequence[Source], output: str, earlier: EarlierRows) -> Survey:
    def listed() -> Iterator[ListedImage]:
        for source in sources:
            yield from list_images(source, output)

    try:
        return survey(listed(), _SAMPLE, earlier=earlier)
    except (OSError, ValueError) as error:
        raise UsageError(f"the inputs cannot be listed: {error}") from error


def _rates(options: RunOptions, artifact: Artifact, surveyed: Survey) -> Rates:
    preprocessing = Preprocessing(artifact.image_size, options.resize, options.max_pixels)
    try:
        return measure_rates(
            surveyed.sample,
            artifact,
            preprocessing,
            kept_classes(options.top_k, len(artifact.labels)),
            options.batch_size,
            options.max_bytes,
        )
    except ValueError as error:
        raise UsageError(f"nothing to plan with: {error}") from error


def _workers(runner: Runner, prices: Prices) -> list[Worker]:
    """The kind of worker the user's options ask for, else the kinds worth comparing."""
    options = runner.options.view_as(WorkerOptions)
    machine, disk = options.machine_type, options.disk_size_gb
    if runner.gpu is not None:
        return [prices.gpu_worker(runner.gpu, machine, disk)]
    if machine is not None:
        return [prices.cpu_worker(machine, disk)]
    compared = prices.table["workers"]["compared_gpus"]
    return [
        prices.cpu_worker(disk_gb=disk),
        *(prices.gpu_worker(Gpu(name, 1)) for name in compared),
    ]


def _estimates(
    workers: list[Worker],
    rates: Rates,
    surveyed: Survey,
    requests: Requests,
    an_image: float,
    prices: Prices,
    deadline_hours: float,
    chosen_workers: int | None,
) -> Iterator[Estimate]:
    if not surveyed.due:
        return
    gigabytes = shuffled_gb(surveyed.distinct, surveyed.uri_bytes / surveyed.listed)
    for worker in workers:
        speed = worker_speed(worker, rates, prices, an_image)
        if speed is not None:
            yield estimate(
                worker,
                speed,
                rates,
                surveyed.due,
                requests,
                gigabytes,
                deadline_hours,
                chosen_workers,
                prices,
            )


def _chosen_workers(runner: Runner) -> int | None:
    options = runner.options.view_as(WorkerOptions)
    return options.max_num_workers or options.num_workers
