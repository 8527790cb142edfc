"""`--gpu`, and the machines that have one."""

import pytest

from pipeline.dataflow.gpus import GPUS, Gpu, parse_gpu


def test_every_gpu_has_a_machine_for_each_number_of_them() -> None:
    assert parse_gpu("nvidia-h100-mega-80gb").machine_type == "a3-megagpu-8g"
    for name, machines in GPUS.items():
        for number, machine in machines.items():
            assert parse_gpu(f"{name}:{number}").machine_type == machine


@pytest.mark.parametrize("text", ["nvidia-l4", "nvidia-l4:2", "nvidia-h100-mega-80gb"])
def test_a_gpu_is_shown_as_it_was_given(text: str) -> None:
    assert str(parse_gpu(text)) == text


def test_without_a_number_there_are_as_few_as_a_machine_can_have() -> None:
    assert parse_gpu("nvidia-l4") == Gpu("nvidia-l4", 1)
    assert str(parse_gpu("nvidia-l4:1")) == "nvidia-l4"
