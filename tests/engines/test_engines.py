"""Which engine runs where."""

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
