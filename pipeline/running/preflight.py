"""What can be known to fail is found before anything runs."""

import os

from apache_beam.options.pipeline_options import (
    PipelineOptions,
    PortableOptions,
    StandardOptions,
    WorkerOptions,
)

from pipeline.config import Config, UsageError
from pipeline.dataflow.options import check_dataflow
from pipeline.running.run_ids import earlier_run_ids
from transforms.list_images import Source, manifest_lines
from transforms.models.errors import nearest
from transforms.storage import is_local, storage_for
from transforms.storage.uris import local_path

_RUNNERS = StandardOptions.KNOWN_RUNNER_NAMES


def check_config(config: Config) -> None:
    """Options that contradict each other or make no sense by themselves.

    Raises:
        UsageError: names the option, its value and what would work.
    """
    if not config.sources():
        raise UsageError("nothing to classify: give --input PATH or --manifest FILE")
    if not config.output:
        raise UsageError("--output FOLDER is missing: say where the result goes")
    for option, value in (
        ("--batch-size", config.batch_size),
        ("--shard-size", config.shard_size),
        ("--max-bytes", config.max_bytes),
        ("--max-pixels", config.max_pixels),
    ):
        if value < 1:
            raise UsageError(f"{option} {value} must be at least 1")
    if not (config.is_local or "." in config.runner or _is_beam_runner(config.runner)):
        raise UsageError(
            f"--runner {config.runner!r} is unknown{nearest(config.runner, _RUNNERS)}; "
            f"Beam has {', '.join(_RUNNERS)}"
        )
    check_dataflow(config)
    _check_beam_options(PipelineOptions(list(config.beam_options)), config.runner)
    if config.retry_all_errors and not config.resume:
        raise UsageError("--retry-all-errors goes with --resume: add it, or drop this option")
    if not config.deadline_hours > 0:
        raise UsageError(f"--deadline-hours {config.deadline_hours:g} must be more than 0")
    if not 0 <= config.max_failure_rate <= 1:
        raise UsageError(
            f"--max-failure-rate {config.max_failure_rate:g} must be a share from 0 to 1"
        )


def check_sources(config: Config) -> None:
    """Every input matches something and every manifest names something.

    Raises:
        UsageError: names the pattern or manifest that does not.
    """
    for source in config.sources():
        try:
            _check_source(source)
        except FileNotFoundError as error:
            raise UsageError(f"--{source.kind} {source.location!r} does not exist") from error
        except ValueError as error:
            raise UsageError(str(error)) from error
        except OSError as error:
            reason = str(error).removeprefix(f"{source.location}: ")
            raise UsageError(
                f"--{source.kind} {source.location!r} cannot be read: {reason}"
            ) from error


def _check_beam_options(options: PipelineOptions, runner: str) -> None:
    """Values that Beam takes and nothing can work with."""
    workers = options.view_as(WorkerOptions)
    for option, number in (
        ("--num_workers", workers.num_workers),
        ("--max_num_workers", workers.max_num_workers),
        ("--disk_size_gb", workers.disk_size_gb),
    ):
        if number is not None and number < 1:
            raise UsageError(f"{option} {number} must be at least 1")
    endpoint = options.view_as(PortableOptions).job_endpoint
    if runner.lower().removesuffix("runner") == "portable" and not endpoint:
        example = "--job_endpoint=localhost:8099"
        raise UsageError(f"PortableRunner needs --job_endpoint, such as {example}")


def check_output(config: Config) -> set[str]:
    """The output folder can be written and holds no earlier run, unless this one resumes.

    Returns:
        The ids of all earlier runs, whole or killed.

    Raises:
        UsageError: it cannot, or it does.
    """
    output = config.output
    storage = storage_for(output)
    if is_local(output) and os.path.isfile(local_path(output)):
        raise UsageError(f"--output {output!r} is a file; give a folder, which may be a new one")
    try:
        earlier = earlier_run_ids(output)
        if config.resume or not earlier:
            storage.check_writable(output)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--output {output!r} cannot be written: {reason}") from error
    check_unused(config, earlier)
    return earlier


def check_unused(config: Config, earlier: set[str]) -> None:
    """The output folder holds no earlier run, unless this one resumes.

    Raises:
        UsageError: it does.
    """
    if earlier and not config.resume:
        raise UsageError(
            f"--output {config.output!r} already holds the results of a run, which are never "
            f"overwritten: add --resume to go on from them, or give another folder"
        )


def _is_beam_runner(name: str) -> bool:
    known = {runner.lower() for runner in _RUNNERS}
    return name.lower() in known or f"{name.lower()}runner" in known


def _check_source(source: Source) -> None:
    if source.kind == "manifest":
        if next(manifest_lines(source), None) is None:
            raise UsageError(f"--manifest {source.location!r} names no image")
        return
    if next(iter(storage_for(source.location).find(source.location)), None) is not None:
        return
    wrong = "matches nothing"
    if is_local(source.location) and os.path.isdir(local_path(source.location)):
        wrong = "is an empty folder"
    elif is_local(source.location):
        wrong += f"; the current folder is {os.getcwd()!r}"
    raise UsageError(f"--input {source.location!r} {wrong}")
