"""`--gpu`, and the machines that have one."""

import pytest

from pipeline.dataflow.gpus import GPUS, Gpu, parse_gpu

# https://cloud.google.com/compute/docs/gpus: how many a machine can have, and what it is called.
# On N1, where the number of vCPUs is free, 8 for each GPU; one L4 comes with 4 to 32, and gets 16.
MACHINES = {
    "nvidia-tesla-t4": "1 n1-standard-8, 2 n1-standard-16, 4 n1-standard-32",
    "nvidia-tesla-p4": "1 n1-standard-8, 2 n1-standard-16, 4 n1-standard-32",
    "nvidia-tesla-p100": "1 n1-standard-8, 2 n1-standard-16, 4 n1-standard-32",
    "nvidia-tesla-v100": "1 n1-standard-8, 2 n1-standard-16, 4 n1-standard-32, 8 n1-standard-64",
    "nvidia-l4": "1 g2-standard-16, 2 g2-standard-24, 4 g2-standard-48, 8 g2-standard-96",
    "nvidia-tesla-a100": "1 a2-highgpu-1g, 2 a2-highgpu-2g, 4 a2-highgpu-4g, 8 a2-highgpu-8g",
    "nvidia-a100-80gb": "1 a2-ultragpu-1g, 2 a2-ultragpu-2g, 4 a2-ultragpu-4g, 8 a2-ultragpu-8g",
    "nvidia-h100-80gb": "1 a3-highgpu-1g, 2 a3-highgpu-2g, 4 a3-highgpu-4g, 8 a3-highgpu-8g",
    "nvidia-h100-mega-80gb": "8 a3-megagpu-8g",
}


def test_gpus_and_machines_are_those_that_google_names() -> None:
    found = {
        name: ", ".join(f"{n} {parse_gpu(f'{name}:{n}').machine_type}" for n in machines)
        for name, machines in GPUS.items()
    }
    assert found == MACHINES


@pytest.mark.parametrize("text", ["nvidia-l4", "nvidia-l4:2", "nvidia-h100-mega-80gb"])
def test_a_gpu_is_shown_as_it_was_given(text: str) -> None:
    assert str(parse_gpu(text)) == text


def test_without_a_number_there_are_as_few_as_a_machine_can_have() -> None:
    assert parse_gpu("nvidia-l4") == Gpu("nvidia-l4", 1)
    assert parse_gpu("nvidia-h100-mega-80gb") == Gpu("nvidia-h100-mega-80gb", 8)
    assert str(parse_gpu("nvidia-l4:1")) == "nvidia-l4"
