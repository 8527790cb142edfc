"""What a Dataflow job needs and a person forgets: options, and what cannot work said beforehand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.transforms.environments import is_apache_beam_container

from pipeline import __version__
from pipeline.dataflow.gpus import Gpu
from pipeline.options import RunOptions, UsageError
from pipeline.running.runner import PROCESS_PER_CORE, Runner
from transforms.storage import is_local
from transforms.storage.uris import scheme_of

PACKAGE: Final = "mobilenet-beam"
# https://cloud.google.com/dataflow/docs/shuffle-for-batch; too small for CUDA's libraries
_USUAL_DISK_GB: Final = 25
_GPU_DISK_GB: Final = 50
# One bundle keeps every core of a worker busy, a second one covers its end. More of them would
# only raise the number of shards that a lost worker takes with it.
_BUNDLES_AT_ONCE: Final = 2  # for each GPU, where there is one
_ONE_PROCESS: Final = f"no_{PROCESS_PER_CORE}"


def bundles_at_once(gpu: Gpu | None) -> int:
    """Bundles that a worker has under way, with its GPUs or without any."""
    return _BUNDLES_AT_ONCE * (1 if gpu is None else gpu.number)


def boot_disk_gb(gpu: Gpu | None) -> int:
    """Gigabytes of a worker's disk where the user names no other."""
    return _USUAL_DISK_GB if gpu is None else _GPU_DISK_GB


def accelerator_hint(runner: Runner) -> str | None:
    """The resource hint of the stage that classifies; Dataflow gives a GPU to no other.

    A machine type in the hint is that of this stage's workers, while one of the user's own is an
    option of the job and then holds for all of them.
    """
    gpu = runner.gpu
    if gpu is None:
        return None
    parts = [f"type:{gpu.type}", f"count:{gpu.number}"]
    if runner.options.view_as(WorkerOptions).machine_type is None:
        parts.append(f"machine_type:{gpu.machine_type}")
    return ";".join([*parts, "install-nvidia-driver"])


def complete_options(runner: Runner, run_id: str) -> None:
    """Adds to the runner's options what the job needs and the user left open."""
    cloud = runner.options.view_as(GoogleCloudOptions)
    debug = runner.options.view_as(DebugOptions)
    worker = runner.options.view_as(WorkerOptions)
    name = run_id.lower()  # neither a job's name nor a label may have capitals
    runner.options.view_as(StandardOptions).runner = "DataflowRunner"
    version = f"{PACKAGE}={__version__.replace('.', '-')}"
    cloud.labels = [version, f"run-id={name}", *(cloud.labels or [])]
    cloud.job_name = cloud.job_name or f"{PACKAGE}-{name}"
    if PROCESS_PER_CORE not in (debug.experiments or []):
        debug.add_experiment(_ONE_PROCESS)  # one model a worker, its threads decode for it
    if debug.number_of_worker_harness_threads is None:
        debug.number_of_worker_harness_threads = bundles_at_once(runner.gpu)
    if runner.gpu is not None and worker.disk_size_gb is None:
        worker.disk_size_gb = boot_disk_gb(runner.gpu)


def check_dataflow(options: RunOptions, runner: Runner) -> None:
    """What the job would fail on minutes later, or at its end.

    Raises:
        UsageError: names the option that is missing or cannot be, and what would do.
    """
    if not runner.is_dataflow:
        if runner.gpu is not None:
            raise UsageError(
                f"--gpu {runner.gpu} is for the workers of --runner=DataflowRunner; "
                f"a GPU of this machine is used without it"
            )
        if options.no_wait:
            raise UsageError("--no-wait is for --runner=DataflowRunner: other runs end here")
        return
    cloud = runner.options.view_as(GoogleCloudOptions)
    for option, value, example in (
        ("--project", cloud.project, "my-project"),
        ("--region", cloud.region, "europe-west4"),
        ("--temp_location", cloud.temp_location, "gs://my-bucket/tmp"),
    ):
        if not value:
            raise UsageError(f"DataflowRunner needs {option}, such as {option}={example}")
    for option, value in (
        ("--temp_location", cloud.temp_location),
        ("--staging_location", cloud.staging_location),
    ):
        if value and scheme_of(value) != "gs":
            raise UsageError(f"{option} {value!r} must be a gs:// folder")
    _check_remote("--input", options.inputs)
    _check_remote("--manifest", options.manifests)
    _check_remote("--output", [options.output])
    worker = runner.options.view_as(WorkerOptions)
    _check_package(runner.options.view_as(SetupOptions), worker.sdk_container_image)
    if runner.gpu is not None:
        _check_gpu(runner.gpu, worker)
        _check_gpu_excludes(runner.gpu, cloud, options)


def _check_remote(option: str, locations: Sequence[str]) -> None:
    for location in locations:
        if is_local(location):
            raise UsageError(
                f"{option} {location!r} is on this machine, where no Dataflow worker can reach it; "
                f"copy it with `gcloud storage cp -r` and give its gs:// name"
            )


def _check_package(setup: SetupOptions, image: str | None) -> None:
    """The workers must have this package: in their image, or installed when they start."""
    files = [setup.setup_file, setup.requirements_file, *(setup.extra_packages or [])]
    for file in filter(None, files):
        if not Path(file).is_file():
            raise UsageError(f"{file!r}, which the workers should install, is not a file")
    if not _installs_package(setup) and (image is None or is_apache_beam_container(image)):
        lacks = "Beam's own image" if image is None else f"--sdk_container_image {image!r}"
        raise UsageError(
            f"{lacks} lacks this package, so no worker could start: "
            f"give --sdk_container_image with one built from deploy/"
        )


def _installs_package(setup: SetupOptions) -> bool:
    """Whether the workers install this package when they start, whatever is in their image."""
    if setup.setup_file or any(_is_this_package(file) for file in setup.extra_packages or []):
        return True
    required = setup.requirements_file
    return required is not None and PACKAGE in Path(required).read_text(errors="replace")


def _is_this_package(file: str) -> bool:
    return Path(file).name.replace("_", "-").startswith(PACKAGE)


def _check_gpu(gpu: Gpu, worker: WorkerOptions) -> None:
    # A GPU goes with one family of machines; custom ones of N1 have no family in their name.
    family, machine = gpu.machine_type.partition("-")[0], worker.machine_type
    if machine and machine.partition("-")[0] not in (family, "custom"):
        raise UsageError(
            f"--machine_type {machine!r} cannot have {gpu.type}, which needs one of "
            f"{family}-...: drop it, and {gpu.machine_type} is taken"
        )
    image = worker.sdk_container_image
    if image is None or is_apache_beam_container(image):
        raise UsageError(
            f"--gpu {gpu} needs --sdk_container_image with CUDA in it; deploy/ builds one"
        )


def _check_gpu_excludes(gpu: Gpu, cloud: GoogleCloudOptions, options: RunOptions) -> None:
    if options.engine == "litert" or options.precision == "int8":
        option = "--precision int8" if options.precision == "int8" else "--engine litert"
        raise UsageError(f"{option} runs on a CPU: drop it, or drop --gpu {gpu}")
    # Both from https://cloud.google.com/dataflow/docs/guides/right-fitting
    if any("worker_accelerator" in each for each in cloud.dataflow_service_options or []):
        raise UsageError("--gpu and the service option worker_accelerator exclude each other")
    if cloud.flexrs_goal:
        raise UsageError("--gpu and --flexrs_goal exclude each other: FlexRS has no GPUs")
