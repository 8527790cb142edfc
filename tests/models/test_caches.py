"""Caches where they are, or a temporary folder where they cannot be."""

import os
import tempfile
from pathlib import Path

import pytest

from transforms.models.caches import cache_path, keras_path


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files; no cache is named, and the home is a file."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    for variable in ("XDG_CACHE_HOME", "KERAS_HOME"):
        monkeypatch.setenv(variable, "")  # so that it is put back afterwards
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    return tmp_path / "tmp" / f"mobilenet-beam-{os.getuid()}"


def test_caches_are_in_the_home_unless_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_path("networks/x") == tmp_path / "home/.cache/mobilenet-beam/networks/x"
    assert keras_path("x.h5") == tmp_path / "home/.keras/models/x.h5"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    assert cache_path("networks/x") == tmp_path / "cache/mobilenet-beam/networks/x"
    assert keras_path("x.h5") == tmp_path / "keras/models/x.h5"
    assert capsys.readouterr() == ("", "")


def test_a_home_that_cannot_be_written_is_replaced_and_named_once(
    tmp_path: Path, temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert cache_path("x") == temporary / ".cache/mobilenet-beam/x"
        assert keras_path("x.h5") == temporary / ".keras/models/x.h5"
    assert capsys.readouterr() == (
        "",
        f"{tmp_path}/file/.cache cannot be written: using {temporary}/.cache; "
        "set XDG_CACHE_HOME to a folder that lasts\n"
        f"{tmp_path}/file/.keras cannot be written: using {temporary}/.keras; "
        "set KERAS_HOME to a folder that lasts\n",
    )
    assert os.environ["XDG_CACHE_HOME"] == str(temporary / ".cache")  # for worker processes


def test_no_home_at_all_is_replaced_too(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert cache_path("x") == temporary / ".cache/mobilenet-beam/x"
    assert capsys.readouterr().err.startswith("there is no home folder: using ")


def test_what_is_there_is_taken_from_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "image"))
    (tmp_path / "image/models").mkdir(parents=True)
    (tmp_path / "image/models/x.h5").touch()

    def refuse(dir: Path) -> None:
        raise PermissionError(f"{dir} is on a medium that cannot be written")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert keras_path("x.h5") == tmp_path / "image/models/x.h5"
    assert capsys.readouterr().err == ""
    assert keras_path("y.h5").parents[2].name == f"mobilenet-beam-{os.getuid()}"


def test_a_folder_that_others_can_write_is_not_taken(temporary: Path) -> None:
    temporary.mkdir()
    temporary.chmod(0o777)
    found = cache_path("x")
    assert temporary not in found.parents
    assert found.is_relative_to(temporary.parent)
    assert found.parents[2].stat().st_mode & 0o777 == 0o700
