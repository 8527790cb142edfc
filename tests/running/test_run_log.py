"""Warnings and tracebacks: in a file, on standard error, never nowhere."""

import logging
import threading
from pathlib import Path

import pytest

from pipeline.running.run_log import RunLog, run_log


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def content(folder: Path) -> str:
    """Of the one file."""
    (path,) = folder.iterdir()
    return path.read_text()


def test_warnings_go_to_a_file_and_not_to_the_screen(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with run_log():
        logging.getLogger("beam").warning("a %s", "word")
        logging.getLogger("beam").info("chatter")
    (line,) = content(folder).splitlines()
    assert line.endswith("WARNING beam: a word")
    assert capfd.readouterr() == ("", "")
    logging.getLogger("beam").warning("later")
    assert len(content(folder).splitlines()) == 1


def test_without_a_warning_there_is_no_file(folder: Path) -> None:
    with run_log() as log:
        assert not list(folder.iterdir())
        log.stream()  # for a worker that says nothing
        assert log.path is None
    assert not list(folder.iterdir())


def test_verbose_is_on_the_screen(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with run_log(verbose=True) as log:
        logging.getLogger("beam").error("a word")
        assert log.keep(ValueError("why")) == "above"
    warning, *traceback = capfd.readouterr().err.splitlines()
    assert warning.endswith("ERROR beam: a word")
    assert "ValueError: why" in traceback
    assert not list(folder.iterdir())


def test_a_traceback_is_kept_with_what_was_logged(folder: Path) -> None:
    with run_log() as log:
        logging.getLogger("beam").warning("a word")
        try:
            raise ValueError("why") from OSError("below")
        except ValueError as error:
            where = log.keep(error)
        assert log.path is not None
    assert where == f"in {log_file(folder)}"
    text = content(folder)
    assert text.index("a word") < text.index("OSError: below") < text.index("ValueError: why")
    assert "test_run_log.py" in text


def log_file(folder: Path) -> Path:
    (path,) = folder.glob("mobilenet-beam-*.log")
    return path


def test_what_a_thread_dies_of_is_logged(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def die() -> None:
        raise ValueError("why")

    before = threading.excepthook
    with run_log():
        thread = threading.Thread(target=die, name="reader")
        thread.start()
        thread.join()
    assert "reader ended\nTraceback" in content(folder)
    assert content(folder).endswith("ValueError: why\n")
    assert capfd.readouterr() == ("", "")
    assert threading.excepthook is before


def test_a_full_disk_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> tuple[int, str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    log = RunLog()
    log.emit(logging.LogRecord("beam", logging.ERROR, "", 0, "a word", None, None))
    assert log.keep(ValueError("why")) == "in no file (No space left on device)"
