"""`--resume`: what is current stays, what is not is done again, and nothing on disk is touched."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner, Result

from pipeline.run import main
from tests.helpers.model_fixtures import PHOTOS, ROOT, TinyModel
from tests.helpers.outputs import all_rows, current_rows, part_bytes
from transforms.storage.local import LocalStorage

pytestmark = pytest.mark.usefixtures("own_caches")
PHOTOGRAPHS = len(list(PHOTOS.iterdir()))


class Folder:
    """Photographs, and an output folder that runs are started into."""

    def __init__(self, root: Path, options: list[str]) -> None:
        self.images, self.output = root / "in", root / "out"
        shutil.copytree(PHOTOS, self.images)
        self.options = [*options, "--shard-size", "5"]

    def run(self, *options: str, inputs: tuple[str, ...] = ()) -> Result:
        """A run over the photographs; whatever was on disk before must be as it was."""
        before = part_bytes(self.output)
        chosen = inputs or ("--input", str(self.images))
        everything = [*chosen, "--output", str(self.output), *self.options, *options]
        result = CliRunner().invoke(main, everything)
        after = part_bytes(self.output)
        assert {name: after.get(name) for name in before} == before
        return result

    def resume(self, *options: str, inputs: tuple[str, ...] = ()) -> str:
        """The first line of a resumed run that must end well."""
        result = self.run("--resume", *options, inputs=inputs)
        assert result.exit_code == 0, result.output
        return str(result.stdout.splitlines()[0])

    def current(self) -> dict[str, Any]:
        """Run ids of the current rows by file name."""
        return {Path(uri).name: row["run_id"] for uri, row in current_rows(self.output).items()}


@pytest.fixture
def folder(tmp_path: Path, tiny_model: TinyModel) -> Folder:
    return Folder(tmp_path, tiny_model.options())


def summary(listed: int, predicted: int, failed: str, skipped: int) -> str:
    return (
        f"{listed} images listed, {predicted} predicted, {failed} failed"
        f"{' (' if ' ' in failed else ''}, {skipped} skipped: their rows are current"
    )


def test_a_second_run_does_nothing_again(folder: Folder) -> None:
    assert folder.run().exit_code == 0
    files = part_bytes(folder.output)
    again = folder.run("--resume")
    assert again.exit_code == 0
    first, second, *_ = again.stdout.splitlines()
    assert first == summary(PHOTOGRAPHS, 0, "0", PHOTOGRAPHS)
    assert re.fullmatch(r"\d+\.\d s with tiny@[0-9a-f]{12}", second)
    assert part_bytes(folder.output) == files


def test_resuming_into_an_empty_folder_is_a_first_run(folder: Folder) -> None:
    assert folder.resume() == summary(PHOTOGRAPHS, PHOTOGRAPHS, "0", 0)


def test_only_added_and_changed_images_are_due(folder: Folder) -> None:
    folder.run()
    shutil.copy(PHOTOS / "cat.jpg", folder.images / "another.jpg")
    shutil.copy(PHOTOS / "cat.jpg", folder.images / "dahlia.jpg")
    os.utime(folder.images / "rocket.jpg", (1, 1))
    (folder.images / "clock.png").unlink()
    assert folder.resume() == summary(PHOTOGRAPHS, 3, "0", PHOTOGRAPHS - 3)
    runs = folder.current()
    first, second = sorted(set(runs.values()))
    assert {name for name, run in runs.items() if run == second} == {
        "another.jpg",
        "dahlia.jpg",
        "rocket.jpg",
    }
    assert runs["clock.png"] == first  # what is no longer listed keeps its row


def test_another_model_makes_everything_due_and_back_again(
    folder: Folder, tmp_path: Path, tiny_model: TinyModel
) -> None:
    folder.run()
    labels = tmp_path / "other.txt"
    labels.write_text("rock\npuss\nplate\ncastle\n")
    others = ("--labels", str(labels))
    assert folder.resume(*others) == summary(PHOTOGRAPHS, PHOTOGRAPHS, "0", 0)
    assert folder.resume(*others) == summary(PHOTOGRAPHS, 0, "0", PHOTOGRAPHS)
    labels_now = {row["label"] for row in current_rows(folder.output).values()}
    assert labels_now <= {"rock", "puss", "plate", "castle"}
    # The current row is that of the latest run, so the first model's rows are no longer.
    assert folder.resume() == summary(PHOTOGRAPHS, PHOTOGRAPHS, "0", 0)


def test_errors_are_tried_again_when_they_are_retryable_or_when_asked_to(folder: Folder) -> None:
    (folder.images / "page.jpg").write_text("no picture")
    (folder.images / "nowhere.jpg").symlink_to("gone.jpg")
    folder.run()
    listed = PHOTOGRAPHS + 2
    assert folder.resume().startswith(f"{listed} images listed, 0 predicted, 0 failed, ")
    line = folder.resume("--retry-all-errors")
    assert line.startswith(f"{listed} images listed, 0 predicted, 2 failed (")
    assert line.endswith(f", {PHOTOGRAPHS} skipped: their rows are current")
    shutil.copy(PHOTOS / "cat.jpg", folder.images / "gone.jpg")  # and so the link leads somewhere
    assert folder.resume().startswith(summary(listed + 1, 2, "0", listed - 1))


def test_retrying_all_errors_alone_is_refused(folder: Folder) -> None:
    result = folder.run("--retry-all-errors")
    assert result.exit_code == 2
    assert "--retry-all-errors goes with --resume" in result.stderr


def test_a_part_file_that_was_lost_is_done_again(folder: Folder) -> None:
    folder.run()
    lost = min((folder.output / "predictions").rglob("*.parquet"))
    lost.unlink()
    assert folder.resume() == summary(PHOTOGRAPHS, 5, "0", PHOTOGRAPHS - 5)
    assert len(all_rows(folder.output)) == PHOTOGRAPHS


def test_a_part_file_that_cannot_be_read_is_named_with_what_to_do(folder: Folder) -> None:
    folder.run()
    broken = min((folder.output / "predictions").rglob("*.parquet"))
    whole = broken.read_bytes()
    broken.write_bytes(whole[:100])
    result = folder.run("--resume")
    assert result.exit_code == 1
    assert f"{broken} is not a part file that can be read" in result.stderr
    assert "restore it, or delete it to have its images classified again" in result.stderr
    broken.write_bytes(whole)
    assert folder.resume() == summary(PHOTOGRAPHS, 0, "0", PHOTOGRAPHS)


def test_a_manifest_and_a_folder_name_the_same_images(folder: Folder, tmp_path: Path) -> None:
    folder.run()
    manifest = tmp_path / "list.txt"
    manifest.write_text("".join(f"{path}\n" for path in folder.images.iterdir()))
    line = folder.resume(inputs=("--manifest", str(manifest)))
    assert line == summary(PHOTOGRAPHS, 0, "0", PHOTOGRAPHS)


def test_a_clock_that_went_back_leaves_the_later_run_current(folder: Folder) -> None:
    folder.run()
    (run,) = (folder.output / "predictions").iterdir()
    run.rename(run.with_name("run_id=r-20991231T235959-ffff"))
    os.utime(folder.images / "cat.jpg", (1, 1))
    assert folder.resume() == summary(PHOTOGRAPHS, 1, "0", PHOTOGRAPHS - 1)
    assert folder.current()["cat.jpg"].startswith("r-21000101T000000-")


@pytest.mark.parametrize("more", [(), ("--resume",)], ids=["new output", "--resume"])
def test_of_two_runs_into_one_output_at_once_the_second_is_refused(
    folder: Folder, caches: dict[str, str], more: tuple[str, ...]
) -> None:
    folder.run()  # the model is built
    shutil.rmtree(folder.output)
    command = [sys.executable, "-m", "pipeline.run", *folder.options, *more]
    command += ["--input", str(folder.images), "--output", str(folder.output)]
    environment = os.environ | caches | {"PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in both]
    codes = [process.returncode for process in both]
    if codes != [0, 0]:  # they may follow each other on a machine that is busy
        assert sorted(codes) == [0, 2]
        (line,) = errors[codes.index(2)].splitlines()
        assert " is in use by run r-" in line or "already holds the results of a run" in line
    else:
        assert more
    assert [row["error"] for row in all_rows(folder.output)] == [None] * PHOTOGRAPHS
    assert folder.resume() == summary(PHOTOGRAPHS, 0, "0", PHOTOGRAPHS)


def test_a_run_that_began_meanwhile_is_noticed_by_the_account(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, other = LocalStorage.write, "r-20991231T235959-ffff"

    def write_beside_another(self: LocalStorage, root: str, name: str, content: bytes) -> None:
        write(self, root, name, content)
        if name.endswith(".parquet"):
            (folder.output / "ledger" / f"{other}.jsonl").touch()

    monkeypatch.setattr(LocalStorage, "write", write_beside_another)
    result = folder.run()
    assert result.exit_code == 4
    assert result.stderr.splitlines() == [
        "error: the ledger does not balance:",
        f"  {other} wrote here at the same time: an image may have a row of each, of which that of "
        f"{other} is current",
    ]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a filesystem of so many kilobytes; needs root."""

    def mount(kilobytes: int) -> Path:
        disk = tmp_path / "disk"
        disk.mkdir(exist_ok=True)
        verb = "remount," if os.path.ismount(disk) else ""
        options = f"{verb}size={kilobytes}k"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)])
        if done.returncode != 0:
            pytest.skip("needs the right to mount a filesystem")
        return disk

    yield mount
    subprocess.run(["umount", str(tmp_path / "disk")])


def test_a_disk_that_fills_up_keeps_whole_shards_and_a_larger_one_goes_on(
    folder: Folder, small_disk: Callable[[int], Path]
) -> None:
    folder.output = small_disk(24) / "out"
    result = folder.run("--shard-size", "2")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the run failed: OSError: [Errno 28] No space left")
    assert "finished and kept; to go on from here:" in result.stderr
    kept = len(all_rows(folder.output))
    assert 0 < kept < PHOTOGRAPHS
    assert not list(folder.output.glob(".staging-*"))
    small_disk(2000)
    assert folder.resume() == summary(PHOTOGRAPHS, PHOTOGRAPHS - kept, "0", kept)
    assert len(all_rows(folder.output)) == PHOTOGRAPHS


def test_an_output_that_becomes_read_only_keeps_what_is_there(
    folder: Folder, small_disk: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = small_disk(2000)
    folder.output = disk / "out"
    write = LocalStorage.write

    def write_until_read_only(self: LocalStorage, root: str, name: str, content: bytes) -> None:
        write(self, root, name, content)
        if name.endswith("00001.parquet"):
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

    with monkeypatch.context() as patched:
        patched.setattr(LocalStorage, "write", write_until_read_only)
        result = folder.run()
    assert result.exit_code == 1
    assert "Read-only file system" in result.stderr
    refused = folder.run("--resume")
    assert refused.exit_code == 2
    assert f"--output '{folder.output}' cannot be written: Read-only file system" in refused.stderr
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    kept = len(all_rows(folder.output))
    assert folder.resume() == summary(PHOTOGRAPHS, PHOTOGRAPHS - kept, "0", kept)


def test_images_in_folders_that_only_look_like_those_of_runs_are_inputs(
    folder: Folder, tmp_path: Path
) -> None:
    for name in ("runs", "predictions", "ledger"):
        (folder.images / name).mkdir()
        shutil.copy(PHOTOS / "cat.jpg", folder.images / name)
    folder.output = folder.images  # results beside the photographs
    result = folder.run()
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{PHOTOGRAPHS + 3} images listed, {PHOTOGRAPHS + 3} predicted")
    assert folder.resume() == summary(PHOTOGRAPHS + 3, 0, "0", PHOTOGRAPHS + 3)


def test_skipped_errors_are_not_passed_over_in_silence(folder: Folder) -> None:
    (folder.images / "page.jpg").write_text("no picture")
    folder.run()
    assert folder.resume().endswith(
        f"{PHOTOGRAPHS + 1} skipped: their rows are current, 1 of them errors "
        "(--retry-all-errors tries those again)"
    )


def test_a_run_folder_behind_a_link_still_counts(folder: Folder, tmp_path: Path) -> None:
    folder.run()
    (run,) = (folder.output / "predictions").iterdir()
    moved = run.rename(tmp_path / "moved")
    run.symlink_to(moved)
    assert folder.resume() == summary(PHOTOGRAPHS, 0, "0", PHOTOGRAPHS)


def test_the_printed_query_holds_for_any_name_of_a_folder(folder: Folder, tmp_path: Path) -> None:
    folder.output = tmp_path / "it's $HOME [1]"
    done = folder.run("--resume")
    line = done.stdout.splitlines()[-1]
    echo = subprocess.run(
        ["bash", "-c", line.replace("duckdb -c", "printf %s")], capture_output=True, text=True
    )
    assert len(duckdb.connect().execute(echo.stdout).fetchall()) == PHOTOGRAPHS
