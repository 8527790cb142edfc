"""The workers' image, looked at before a job is submitted."""

from collections.abc import Iterator

import pytest

from pipeline import __version__
from pipeline.config import Config, UsageError
from pipeline.worker_image import check_worker_image
from tests.image_registry import BASE, TITLE, VERSION, Registry

CPU = {
    TITLE: "mobilenet-beam",
    VERSION: __version__,
    BASE: "docker.io/apache/beam_python3.11_sdk:2.77.0",
}
GPU = CPU | {BASE: "docker.io/nvidia/cuda:12.6.3-base-rockylinux9"}
BUILD = "`gcloud builds submit --config deploy/cloudbuild.yaml` (deploy/README.md, section 3)"
OR_LABEL = (
    "or give your own that has it the labels org.opencontainers.image.title=mobilenet-beam and "
    f"org.opencontainers.image.version={__version__}"
)


@pytest.fixture
def registry() -> Iterator[Registry]:
    server = Registry()
    yield server
    server.stop()


def check(image: str, *options: str, gpu: str | None = None) -> list[str]:
    """What is said about an image that is taken."""
    said: list[str] = []
    beam_options = (f"--sdk_container_image={image}", "--no_auth", *options)
    check_worker_image(
        Config(runner="DataflowRunner", gpu=gpu, beam_options=beam_options), said.append
    )
    return said


def refusal(image: str, *options: str, gpu: str | None = None) -> str:
    with pytest.raises(UsageError) as error:
        check(image, *options, gpu=gpu)
    return str(error.value)


def test_the_images_of_deploy_are_taken_without_a_word(registry: Registry) -> None:
    cpu, gpu = registry.push("p/cpu", "1", CPU), registry.push("p/gpu", "1", GPU)
    assert check(cpu) == check(gpu) == check(gpu, gpu="nvidia-l4") == []
    both = registry.push_index("p/both", "1", {"linux/arm64": {}, "linux/amd64": CPU})
    assert check(both) == []
    arm = registry.push("p/arm", "1", CPU, "linux/arm64")
    assert check(arm, "--machine_type=t2a-standard-8") == []


def test_an_image_that_does_not_exist_is_refused(registry: Registry) -> None:
    gone = f"{registry.host}/p/cpu:2"
    assert refusal(gone) == (
        f"--sdk_container_image '{gone}' does not exist in its registry: correct the name, "
        f"or build it with {BUILD}"
    )
    assert refusal("gcr.io/P/cpu") == (
        "--sdk_container_image 'gcr.io/P/cpu' is no name of an image, such as HOST/PROJECT/NAME:TAG"
    )


def test_an_image_without_the_package_is_refused(registry: Registry) -> None:
    plain = registry.push("p/plain", "1", {VERSION: "22.04"})  # of the distribution it is based on
    assert refusal(plain) == (
        f"--sdk_container_image '{plain}' lacks this package: no label gives it the title "
        f"'mobilenet-beam'; build one with {BUILD}, {OR_LABEL}"
    )
    launcher = registry.push("p/launcher", "1", CPU | {TITLE: "mobilenet-beam-launcher"})
    assert refusal(launcher) == (
        f"--sdk_container_image '{launcher}' lacks this package: its title is "
        f"'mobilenet-beam-launcher' and not 'mobilenet-beam'; build one with {BUILD}, {OR_LABEL}"
    )
    assert check(plain, "--setup_file=./pyproject.toml") == []  # installs it at the start


def test_an_image_of_another_version_is_refused(registry: Registry) -> None:
    old = registry.push("p/cpu", "0.0.9", CPU | {VERSION: "0.0.9"})
    assert refusal(old) == (
        f"--sdk_container_image '{old}' has mobilenet-beam 0.0.9 and this is {__version__}, whose "
        f"jobs it may not understand: build it anew with {BUILD}, or submit with that version"
    )


def test_an_image_for_another_processor_is_refused(registry: Registry) -> None:
    arm = registry.push("p/cpu", "arm", CPU, "linux/arm64")
    assert refusal(arm) == (
        f"--sdk_container_image '{arm}' is for linux/arm64 and the workers are linux/amd64: "
        "add `--platform linux/amd64` to the command that builds it"
    )
    intel = registry.push_index("p/cpu", "1", {"linux/amd64": CPU, "linux/s390x": CPU})
    assert refusal(intel, "--machine_type=c4a-standard-8") == (
        f"--sdk_container_image '{intel}' is for linux/amd64, linux/s390x and the workers are "
        "linux/arm64: add `--platform linux/arm64` to the command that builds it"
    )


def test_a_gpu_needs_an_image_with_cuda(registry: Registry) -> None:
    cpu = registry.push("p/cpu", "1", CPU)
    assert refusal(cpu, gpu="nvidia-l4:2") == (
        f"--gpu nvidia-l4:2 needs CUDA, and --sdk_container_image '{cpu}' is based on "
        "docker.io/apache/beam_python3.11_sdk:2.77.0: give that of deploy/Dockerfile.gpu, "
        f"built by {BUILD}"
    )
    # Without our labels nobody knows.
    own = registry.push("p/own", "1", None)
    assert check(own, "--setup_file=./pyproject.toml", gpu="nvidia-l4") == []


def test_a_registry_that_cannot_be_asked_stops_nothing(registry: Registry) -> None:
    name = registry.push("p/cpu", "1", CPU)
    registry.is_public = registry.has_tokens = False
    assert check(name) == [
        f"--sdk_container_image '{name}' was not checked: {registry.host} wants credentials (401), "
        "and --no_auth gives none"
    ]
    registry.stop()
    assert check(name) == [
        f"--sdk_container_image '{name}' was not checked: {registry.host} cannot be reached "
        "(Connection refused)"
    ]


def test_nothing_is_asked_unless_dataflow_pulls_an_image(registry: Registry) -> None:
    gone = f"--sdk_container_image={registry.host}/p/cpu:2"
    check_worker_image(Config(beam_options=(gone,)), print)
    check_worker_image(Config(runner="DataflowRunner"), print)
    assert registry.requests == []
