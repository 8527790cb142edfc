"""`--dry-run`: what a run would take, from its own inputs, without running it."""

import math
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final, NamedTuple

from apache_beam.options.pipeline_options import PipelineOptions, WorkerOptions

from pipeline.config import Config, UsageError
from pipeline.dataflow.options import Gpu, parse_gpu
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
from pipeline.running.preflight import check_config, check_sources, check_unused
from pipeline.running.run_ids import earlier_run_ids
from transforms.cores import available_cores
from transforms.cut_shards import count_buckets
from transforms.decode_images import Preprocessing
from transforms.earlier_rows import earlier_parts, earlier_rows
from transforms.list_images import list_images
from transforms.models.artifact import Artifact
from transforms.models.errors import ModelError
from transforms.models.resolve import kept_classes, resolve_model
from transforms.records import ListedImage

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


def make_plan(config: Config, say: Say, prices: Prices) -> Plan:
    """Lists, resolves the model, times a sample and reckons; writes nothing to the output.

    Raises:
        UsageError: the run would be refused, or nothing of its sample can be decoded.
    """
    check_config(config)
    check_sources(config)
    workers = _workers(config, prices)
    parts = _earlier_parts(config)
    artifact = _artifact(config, say)
    if parts:
        say("reading the rows of earlier runs")
    earlier = _earlier_rows(config, parts, artifact.model)
    say("listing every input")
    surveyed = _survey(config, earlier)
    say(f"timing a sample of {len(surveyed.sample):,} images")
    rates = _rates(config, artifact, surveyed)
    images = surveyed.due
    shards = count_shards(surveyed, config.shard_size)
    fetches = fetches_for(surveyed, config.shard_size, len(parts))
    requests = requests_for(fetches.gets, surveyed.objects, shards)
    an_image = fetches.an_image(images)
    of_sample = an_image * len(surveyed.sample) / count_objects(surveyed.sample)
    here = local_speed(rates, available_cores(), prices, of_sample)
    return Plan(
        surveyed,
        artifact.model,
        artifact.engine,
        math.ceil(images / config.batch_size),
        shards,
        round(total_bytes(surveyed, rates)),
        available_cores(),
        rates,
        here,
        images / here.images_per_second / 3600,
        config.deadline_hours,
        _chosen_workers(config),
        fetches,
        requests,
        tuple(_estimates(config, workers, rates, surveyed, requests, an_image, prices)),
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


def _artifact(config: Config, say: Say) -> Artifact:
    try:
        return resolve_model(config.model_choice(), say)
    except ModelError as error:
        raise UsageError(str(error)) from error


def _earlier_parts(config: Config) -> list[str]:
    try:
        check_unused(config, earlier_run_ids(config.output))
        return list(earlier_parts(config.output, run_id="")) if config.resume else []
    except (OSError, ValueError) as error:
        if not config.resume:  # the bucket may be planned as well
            return []
        raise UsageError(f"--output {config.output!r} cannot be listed: {error}") from error


def _earlier_rows(config: Config, parts: list[str], model: str) -> EarlierRows:
    rows = chain.from_iterable(earlier_rows(part, config.output, model) for part in parts)
    try:
        return EarlierRows(rows, config.retry_all_errors)
    except OSError as error:
        raise UsageError(str(error)) from error


def _survey(config: Config, earlier: EarlierRows) -> Survey:
    def listed() -> Iterator[ListedImage]:
        for source in config.sources():
            yield from list_images(source, config.output)

    try:
        return survey(listed(), _SAMPLE, earlier=earlier)
    except (OSError, ValueError) as error:
        raise UsageError(f"the inputs cannot be listed: {error}") from error


def _rates(config: Config, artifact: Artifact, surveyed: Survey) -> Rates:
    preprocessing = Preprocessing(artifact.image_size, config.resize, config.max_pixels)
    try:
        return measure_rates(
            surveyed.sample,
            artifact,
            preprocessing,
            kept_classes(config.top_k, len(artifact.labels)),
            config.batch_size,
            config.max_bytes,
        )
    except ValueError as error:
        raise UsageError(f"nothing to plan with: {error}") from error


def _workers(config: Config, prices: Prices) -> list[Worker]:
    """The kind of worker the user's options ask for, else the kinds worth comparing."""
    options = _worker_options(config)
    machine, disk = options.machine_type, options.disk_size_gb
    if config.gpu is not None:
        return [prices.gpu_worker(parse_gpu(config.gpu), machine, disk)]
    if machine is not None:
        return [prices.cpu_worker(machine, disk)]
    compared = prices.table["workers"]["compared_gpus"]
    return [
        prices.cpu_worker(disk_gb=disk),
        *(prices.gpu_worker(Gpu(name, 1)) for name in compared),
    ]


def _estimates(
    config: Config,
    workers: list[Worker],
    rates: Rates,
    surveyed: Survey,
    requests: Requests,
    an_image: float,
    prices: Prices,
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
                config.deadline_hours,
                _chosen_workers(config),
                prices,
            )


def _chosen_workers(config: Config) -> int | None:
    options = _worker_options(config)
    return options.max_num_workers or options.num_workers


def _worker_options(config: Config) -> Any:
    return PipelineOptions(list(config.beam_options)).view_as(WorkerOptions)
