"""What a Dataflow job needs and a person forgets: options, and what cannot work said beforehand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from apache_beam.options.pipeline_options import (
    DebugOptions,
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    WorkerOptions,
)
from apache_beam.transforms.environments import is_apache_beam_container

from pipeline import __version__
from pipeline.config import Config, UsageError
from transforms.models.errors import nearest
from transforms.storage import is_local
from transforms.storage.uris import scheme_of

PACKAGE: Final = "mobilenet-beam"
_BOOT_DISK_GB: Final = 50  # Dataflow's default of 25 is too small for CUDA's libraries
# One bundle keeps every core of a worker busy, a second one covers its end. More of them would
# only raise the number of shards that a lost worker takes with it.
BUNDLES_AT_ONCE: Final = 2  # for each GPU, where there is one
_ONE_PROCESS, _PROCESS_PER_CORE = "no_use_multiple_sdk_containers", "use_multiple_sdk_containers"


def _n1(*counts: int) -> dict[int, str]:
    return {count: f"n1-standard-{8 * count}" for count in counts}


def _by_name(family: str, *counts: int) -> dict[int, str]:
    return {count: f"{family}-{count}g" for count in counts}


# Each type with the numbers of it that one machine can have, and a machine type for each number:
# for those that attach to any machine 8 cores a GPU, which decode for it.
# https://cloud.google.com/dataflow/docs/gpu/gpu-support, https://cloud.google.com/compute/docs/gpus
GPUS: Final[dict[str, dict[int, str]]] = {
    "nvidia-tesla-t4": _n1(1, 2, 4),
    "nvidia-l4": {
        1: "g2-standard-16",
        2: "g2-standard-24",
        4: "g2-standard-48",
        8: "g2-standard-96",
    },
    "nvidia-tesla-v100": _n1(1, 2, 4, 8),
    "nvidia-tesla-p100": _n1(1, 2, 4),
    "nvidia-tesla-p4": _n1(1, 2, 4),
    "nvidia-tesla-a100": _by_name("a2-highgpu", 1, 2, 4, 8),
    "nvidia-a100-80gb": _by_name("a2-ultragpu", 1, 2, 4, 8),
    "nvidia-h100-80gb": _by_name("a3-highgpu", 1, 2, 4, 8),
    "nvidia-h100-mega-80gb": _by_name("a3-megagpu", 8),
}


class Gpu(NamedTuple):
    """`--gpu TYPE[:COUNT]`, as one worker has it."""

    type: str
    number: int

    @property
    def machine_type(self) -> str:
        """A worker that has them."""
        return GPUS[self.type][self.number]


def parse_gpu(text: str) -> Gpu:
    """TYPE or TYPE:COUNT.

    Raises:
        UsageError: there is no such type, or no machine with that many.
    """
    name, separator, number = text.partition(":")
    if name not in GPUS:
        likely = [known for known in GPUS if name and name.lower() in known]
        hint = f"; did you mean {likely[0]}?" if likely else nearest(name, GPUS)
        raise UsageError(f"--gpu {text!r}: no such type{hint}; Dataflow has {', '.join(GPUS)}")
    counts = GPUS[name]
    count = int(number) if number.isdecimal() else 0 if separator else min(counts)
    if count not in counts:
        raise UsageError(
            f"--gpu {text!r}: a worker can have {_or(counts)} of {name}, as in {name}:{max(counts)}"
        )
    return Gpu(name, count)


def accelerator_hint(config: Config) -> str | None:
    """The resource hint of the stage that classifies; Dataflow gives a GPU to no other.

    A machine type in the hint is that of this stage's workers, while one of the user's own is an
    option of the job and then holds for all of them.
    """
    if config.gpu is None:
        return None
    gpu = parse_gpu(config.gpu)
    parts = [f"type:{gpu.type}", f"count:{gpu.number}"]
    if _given(config).view_as(WorkerOptions).machine_type is None:
        parts.append(f"machine_type:{gpu.machine_type}")
    return ";".join([*parts, "install-nvidia-driver"])


def dataflow_options(config: Config, run_id: str) -> list[str]:
    """The user's Beam options, and before them what the job needs and they leave open."""
    given = _given(config)
    experiments = given.view_as(DebugOptions).experiments or []
    name = run_id.lower()  # neither a job's name nor a label may have capitals
    ours = [
        "--runner=DataflowRunner",
        f"--labels={PACKAGE}={__version__.replace('.', '-')}",
        f"--labels=run-id={name}",
    ]
    if given.view_as(GoogleCloudOptions).job_name is None:
        ours.append(f"--job_name={PACKAGE}-{name}")
    if _PROCESS_PER_CORE not in experiments:  # one model a worker, its threads decode for it
        ours.append(f"--experiments={_ONE_PROCESS}")
    if given.view_as(DebugOptions).number_of_worker_harness_threads is None:
        gpus = parse_gpu(config.gpu).number if config.gpu is not None else 1
        ours.append(f"--number_of_worker_harness_threads={BUNDLES_AT_ONCE * gpus}")
    if config.gpu is not None and given.view_as(WorkerOptions).disk_size_gb is None:
        ours.append(f"--disk_size_gb={_BOOT_DISK_GB}")
    return [*ours, *config.beam_options]


def check_dataflow(config: Config) -> None:
    """What the job would fail on minutes later, or at its end.

    Raises:
        UsageError: names the option that is missing or cannot be, and what would do.
    """
    if not config.is_dataflow:
        if config.gpu is not None:
            raise UsageError(
                f"--gpu {config.gpu} is for the workers of --runner=DataflowRunner; "
                f"a GPU of this machine is used without it"
            )
        if config.no_wait:
            raise UsageError("--no-wait is for --runner=DataflowRunner: other runs end here")
        return
    gpu = parse_gpu(config.gpu) if config.gpu is not None else None
    cloud = _given(config).view_as(GoogleCloudOptions)
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
    _check_remote("--input", config.inputs)
    _check_remote("--manifest", config.manifests)
    _check_remote("--output", [config.output])
    _check_package(config)
    if gpu is not None:
        _check_gpu(config, gpu)


def has_siblings(config: Config) -> bool:
    """Whether the runner starts several processes on a machine, as the user asked it to."""
    given = _given(config)
    return (
        _PROCESS_PER_CORE in (given.view_as(DebugOptions).experiments or [])
        or given.view_as(DirectOptions).direct_running_mode == "multi_processing"
        or int(given.view_as(PortableOptions).sdk_worker_parallelism) != 1
    )


def installs_package(config: Config) -> bool:
    """Whether the workers install this package when they start, whatever is in their image."""
    setup = _given(config).view_as(SetupOptions)
    if setup.setup_file or any(_is_this_package(file) for file in setup.extra_packages or []):
        return True
    required = setup.requirements_file
    return required is not None and PACKAGE in Path(required).read_text(errors="replace")


def _check_remote(option: str, locations: Sequence[str]) -> None:
    for location in locations:
        if is_local(location):
            raise UsageError(
                f"{option} {location!r} is on this machine, where no Dataflow worker can reach it; "
                f"copy it with `gcloud storage cp -r` and give its gs:// name"
            )


def _check_package(config: Config) -> None:
    """The workers must have this package: in their image, or installed when they start."""
    setup = _given(config).view_as(SetupOptions)
    image = _given(config).view_as(WorkerOptions).sdk_container_image
    files = [setup.setup_file, setup.requirements_file, *(setup.extra_packages or [])]
    for file in filter(None, files):
        if not Path(file).is_file():
            raise UsageError(f"{file!r}, which the workers should install, is not a file")
    if not installs_package(config) and (image is None or is_apache_beam_container(image)):
        lacks = "Beam's own image" if image is None else f"--sdk_container_image {image!r}"
        raise UsageError(
            f"{lacks} lacks this package, so no worker could start: "
            f"give --sdk_container_image with one built from deploy/"
        )


def _check_gpu(config: Config, gpu: Gpu) -> None:
    given = _given(config)
    _check_machine(gpu, given.view_as(WorkerOptions).machine_type)
    image = given.view_as(WorkerOptions).sdk_container_image
    if image is None or is_apache_beam_container(image):
        raise UsageError(
            f"--gpu {config.gpu} needs --sdk_container_image with CUDA in it; deploy/ builds one"
        )
    if config.engine == "litert" or config.precision == "int8":
        option = "--precision int8" if config.precision == "int8" else "--engine litert"
        raise UsageError(f"{option} runs on a CPU: drop it, or drop --gpu {config.gpu}")
    cloud = given.view_as(GoogleCloudOptions)
    # Both from https://cloud.google.com/dataflow/docs/guides/right-fitting
    if any("worker_accelerator" in each for each in cloud.dataflow_service_options or []):
        raise UsageError("--gpu and the service option worker_accelerator exclude each other")
    if cloud.flexrs_goal:
        raise UsageError("--gpu and --flexrs_goal exclude each other: FlexRS has no GPUs")


def _check_machine(gpu: Gpu, machine_type: str | None) -> None:
    """A GPU goes with one family of machines; custom ones of N1 have no family in their name."""
    family = gpu.machine_type.partition("-")[0]
    if machine_type and machine_type.partition("-")[0] not in (family, "custom"):
        raise UsageError(
            f"--machine_type {machine_type!r} cannot have {gpu.type}, which needs one of "
            f"{family}-...: drop it, and {gpu.machine_type} is taken"
        )


def _is_this_package(file: str) -> bool:
    return Path(file).name.replace("_", "-").startswith(PACKAGE)


def _given(config: Config) -> PipelineOptions:
    return PipelineOptions(list(config.beam_options))


def _or(counts: Sequence[int] | dict[int, str]) -> str:
    *few, last = map(str, counts)
    return f"{', '.join(few)} or {last}" if few else last
