"""Whether the workers' image has what they need, asked of its registry before a job is submitted.

The images of deploy/ say in labels what is in them; the keys are those that the OCI image
specification defines. An image inherits the labels of its base, so a version counts only below
our title.
"""

from collections.abc import Callable
from typing import Final, NoReturn

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    WorkerOptions,
)

from pipeline import __version__
from pipeline.config import Config, UsageError
from pipeline.dataflow import PACKAGE, installs_package
from pipeline.image_name import parse_image_name

_OPTION: Final = "--sdk_container_image"
_TITLE: Final = "org.opencontainers.image.title"
_VERSION: Final = "org.opencontainers.image.version"
_BASE: Final = "org.opencontainers.image.base.name"
_CUDA_BASE: Final = "nvidia/cuda"
# https://cloud.google.com/dataflow/docs/guides/use-arm-vms
_ARM_MACHINES: Final = ("t2a-", "c4a-")
_BUILD: Final = (
    "`gcloud builds submit --config deploy/cloudbuild.yaml` (deploy/README.md, section 3)"
)


def check_worker_image(config: Config, say: Callable[[str], None]) -> None:
    """Looks at the labels of --sdk_container_image, or says why it could not.

    A registry that cannot be asked stops nothing: the workers may see what this machine cannot.

    Raises:
        UsageError: no worker could start, or use its GPU, with this image.
    """
    options = PipelineOptions(list(config.beam_options))
    text = options.view_as(WorkerOptions).sdk_container_image
    if not config.is_dataflow or text is None:
        return
    # Google's client takes its time to import.
    from pipeline.registry import NoSuchImageError, UnansweredError, read_image

    machine = options.view_as(WorkerOptions).machine_type or ""
    platform = "linux/arm64" if machine.startswith(_ARM_MACHINES) else "linux/amd64"
    with_credentials = not options.view_as(GoogleCloudOptions).no_auth
    try:
        name = parse_image_name(text)
    except ValueError as error:
        raise UsageError(f"{_OPTION} {error}") from error
    try:
        image = read_image(name, platform, with_credentials)
    except NoSuchImageError as error:
        why = f"does not exist in its registry: correct the name, or build it with {_BUILD}"
        _refuse(text, why, error)
    except UnansweredError as error:
        say(f"{_OPTION} {text!r} was not checked: {error}")
        return
    if platform not in image.platforms:
        _refuse(
            text,
            f"is for {', '.join(image.platforms) or 'no platform'} and the workers are {platform}: "
            f"add `--platform {platform}` to the command that builds it",
        )
    if not installs_package(config):
        _check_package(text, image.labels)
    if config.gpu is not None and image.labels.get(_TITLE) == PACKAGE:
        _check_cuda(text, config.gpu, image.labels)


def _check_package(text: str, labels: dict[str, str]) -> None:
    title, version = labels.get(_TITLE), labels.get(_VERSION)
    if title != PACKAGE:
        has = f"its title is {title!r} and not" if title else "no label gives it the title"
        _refuse(
            text,
            f"lacks this package: {has} {PACKAGE!r}; build one with {_BUILD}, or give your own "
            f"that has it the labels {_TITLE}={PACKAGE} and {_VERSION}={__version__}",
        )
    if version != __version__:
        _refuse(
            text,
            f"has {PACKAGE} {version or 'of no version'} and this is {__version__}, whose jobs it "
            f"may not understand: build it anew with {_BUILD}, or submit with that version",
        )


def _check_cuda(text: str, gpu: str, labels: dict[str, str]) -> None:
    base = labels.get(_BASE, "no known image")
    if _CUDA_BASE not in base:
        raise UsageError(
            f"--gpu {gpu} needs CUDA, and {_OPTION} {text!r} is based on {base}: "
            f"give that of deploy/Dockerfile.gpu, built by {_BUILD}"
        )


def _refuse(text: str, why: str, cause: Exception | None = None) -> NoReturn:
    raise UsageError(f"{_OPTION} {text!r} {why}") from cause
