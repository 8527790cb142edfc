"""Which engine runs where."""

from pathlib import Path

import pytest

from transforms import engines


@pytest.mark.parametrize(
    ("gpu", "name", "precision", "expected"),
    [
        (False, "auto", "float32", "litert"),
        (True, "auto", "float32", "tensorflow"),
        (True, "auto", "int8", "litert"),
        (False, "auto", "bfloat16", "tensorflow"),
        (True, "litert", "float32", "litert"),
        (False, "tensorflow", "float16", "tensorflow"),
    ],
)
def test_auto_takes_what_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, name: str, precision: str, expected: str
) -> None:
    assert engines.resolve_engine(name, precision, gpu) == expected  # type: ignore[arg-type]  # a table
    monkeypatch.setattr(engines, "gpu_is_visible", lambda: gpu)
    assert engines.resolve_engine(name, precision) == expected  # type: ignore[arg-type]  # a table


@pytest.mark.parametrize(("devices", "is_visible"), [("-1", False), ("", False), ("0", True)])
def test_a_gpu_that_cuda_may_not_use_is_not_visible(
    monkeypatch: pytest.MonkeyPatch, devices: str, is_visible: bool
) -> None:
    monkeypatch.setattr(Path, "is_dir", lambda _: True)  # the driver's folder is there
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
    assert engines.gpu_is_visible() is is_visible
