"""What can be known to fail is found before anything runs."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from apache_beam.options.pipeline_options import PortableOptions, WorkerOptions

from pipeline.dataflow.options import check_dataflow
from pipeline.options import RunOptions, UsageError
from pipeline.running.run_ids import earlier_run_ids, listed_run_ids
from pipeline.running.runner import Runner
from transforms.list_images import Source, manifest_lines
from transforms.storage import is_local, storage_for
from transforms.storage.uris import local_path


def check_options(options: RunOptions, runner: Runner) -> None:
    """Options that contradict each other or make no sense by themselves.

    Raises:
        UsageError: names the option, its value and what would work.
    """
    if not options.inputs and not options.manifests:
        raise UsageError("nothing to classify: give --input PATH or --manifest FILE")
    if not options.output:
        raise UsageError("--output FOLDER is missing: say where the result goes")
    check_dataflow(options, runner)
    _check_beam_options(runner)
    if options.retry_all_errors and not options.resume:
        raise UsageError("--retry-all-errors goes with --resume: add it, or drop this option")
    if not options.deadline_hours > 0:
        raise UsageError(f"--deadline-hours {options.deadline_hours:g} must be more than 0")
    if not 0 <= options.max_failure_rate <= 1:
        raise UsageError(
            f"--max-failure-rate {options.max_failure_rate:g} must be a share from 0 to 1"
        )


def check_sources(sources: Sequence[Source]) -> None:
    """Every input matches something and every manifest names something.

    Raises:
        UsageError: names the pattern or manifest that does not.
    """
    for source in sources:
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


def _check_beam_options(runner: Runner) -> None:
    """Values that Beam takes and nothing can work with."""
    workers = runner.options.view_as(WorkerOptions)
    for option, number in (
        ("--num_workers", workers.num_workers),
        ("--max_num_workers", workers.max_num_workers),
        ("--disk_size_gb", workers.disk_size_gb),
    ):
        if number is not None and number < 1:
            raise UsageError(f"{option} {number} must be at least 1")
    endpoint = runner.options.view_as(PortableOptions).job_endpoint
    if runner.kind == "portable" and not endpoint:
        example = "--job_endpoint=localhost:8099"
        raise UsageError(f"PortableRunner needs --job_endpoint, such as {example}")


def check_output(output: str, resume: bool) -> set[str]:
    """The output folder can be written and holds no earlier run, unless this one resumes.

    Returns:
        The ids of all earlier runs, whole or killed.

    Raises:
        UsageError: it cannot, or it does.
    """
    storage = storage_for(output)
    if is_local(output) and os.path.isfile(local_path(output)):
        raise UsageError(f"--output {output!r} is a file; give a folder, which may be a new one")
    with _one_line(output):
        earlier = earlier_run_ids(output)
        if resume or not earlier:
            storage.check_writable(output)
    check_unused(output, earlier, resume)
    return earlier


def check_claimed(output: str, run_id: str, resume: bool) -> set[str]:
    """No run that ended since `check_output` is in the way of one that has claimed the output.

    Returns:
        The ids of all runs that have listed their images.

    Raises:
        UsageError: one is.
    """
    with _one_line(output):
        there = listed_run_ids(output)
    check_unused(output, there, resume)
    if any(other >= run_id for other in there):
        raise UsageError(f"a run into --output {output!r} has just ended: start this one again")
    return there


@contextmanager
def _one_line(output: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--output {output!r} cannot be written: {reason}") from error


def check_unused(output: str, earlier: set[str], resume: bool) -> None:
    """The output folder holds no earlier run, unless this one resumes.

    Raises:
        UsageError: it does.
    """
    if earlier and not resume:
        raise UsageError(
            f"--output {output!r} already holds the results of a run, which are never "
            f"overwritten: add --resume to go on from them, or give another folder"
        )


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
