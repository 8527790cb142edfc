"""A run that is told to stop, by a real signal, wherever it is: nothing is left behind.

What a signal does to a command in general is in console/test_stopping.py.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from tests.end_to_end.test_kills import listed_images, thumbnails
from tests.helpers.model_fixtures import PHOTOS, ROOT, Command, TinyModel
from tests.helpers.outputs import part_files
from transforms.layout import run_of_part

MOST_SECONDS = 120.0
MULTI_PROCESSING = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


class Started:
    """A run in a session of its own, whose temporary files go to a folder of their own."""

    def __init__(
        self, folder: Path, command: list[str], environment: Mapping[str, str] = os.environ
    ) -> None:
        self.output, self.temporary = folder / "out", folder / "tmp"
        self.temporary.mkdir()
        self.resume = " ".join([*command, "--output", str(self.output), "--resume"])
        self.process = subprocess.Popen(
            [sys.executable, *command[1:], "--output", str(self.output)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**environment, "TMPDIR": str(self.temporary), "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
        self.lines: list[str] = []  # that were read from standard error

    def wait_until(self, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + MOST_SECONDS
        while not ready():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end
            time.sleep(0.01)

    def wait_for_line(self, line: str) -> None:
        assert self.process.stderr is not None
        while (said := self.process.stderr.readline()) != f"{line}\n":
            assert said, self.process.communicate()

    def stopped_by(self, number: signal.Signals) -> tuple[int, list[str]]:
        """The exit code and the lines on standard error after a signal; all processes are gone."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        assert out == ""
        self.check_processes()
        return self.process.returncode, err.splitlines()

    def check_processes(self) -> None:
        """None is left: they end when they see that nobody is there any more."""
        for _ in range(100):
            try:
                os.killpg(self.process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)
        pytest.fail("processes are left")

    def check_temporary(self) -> None:
        """No temporary file is left."""
        assert list(self.temporary.iterdir()) == []

    def parts(self) -> int:
        return len(part_files(self.output)) if self.output.exists() else 0


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Many small images, and one that is decoded in a process apart."""
    folder = thumbnails(tmp_path / "in", 1500)
    Image.new("RGB", (6000, 6000)).save(folder / "00000.png")
    return folder


@pytest.fixture
def start(
    tiny_model: TinyModel, caches: dict[str, str], tmp_path: Path
) -> Iterator[Callable[..., Started]]:
    """Starts runs, which are killed after the test if need be."""
    started: list[Started] = []

    def start(*options: str, environment: Mapping[str, str] = caches, script: str = "") -> Started:
        how = ["-c", script] if script else ["-m", "pipeline.run"]
        command = ["python", *how, *options, *tiny_model.options()]
        started.append(Started(tmp_path, command, os.environ | environment))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()


def runs_with(argument: str) -> bool:
    """Whether there is a process with this in one of its arguments."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if argument in path.read_text(errors="replace"):
                return True
    return False


@pytest.fixture(scope="module")
def built(run: Command, tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The network is in the cache."""
    output = tmp_path_factory.mktemp("warm")
    options = ["--input", str(PHOTOS / "cat.jpg"), "--output", str(output)]
    assert run(*options, *tiny_model.options()).code == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_while_it_is_still_loading(tmp_path: Path, number: signal.Signals, code: int) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "pipeline.run", "--input", str(PHOTOS)]
    command += ["--output", str(tmp_path / "out")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None
        assert any("apache_beam" in line for line in process.stderr)  # more of it is to come
        process.send_signal(number)
        said = [line for line in process.stderr if not line.startswith("import time:")]
    assert (process.returncode, said) == (code, ["stopped before anything ran\n"])


def test_before_anything_ran(start: Callable[..., Started], tmp_path: Path) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    run = start("--input", str(PHOTOS), environment=cache)
    run.wait_for_line("building tiny for litert (once; some ten seconds)")
    run.wait_until(lambda: runs_with(f"{tmp_path}/cache"))
    time.sleep(0.2)  # a child that is being started at this moment would go on for some seconds
    assert run.stopped_by(signal.SIGTERM) == (143, ["stopped before anything ran"])
    assert not run.output.exists()
    run.check_temporary()
    networks = tmp_path / "cache" / "mobilenet-beam" / "networks"
    assert list(networks.iterdir()) == []


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    ("number", "code", "more"),
    [
        (signal.SIGINT, 130, ()),
        (signal.SIGTERM, 143, ()),
        (signal.SIGTERM, 143, MULTI_PROCESSING),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGTERM with worker processes"],
)
def test_in_the_middle(
    start: Callable[..., Started],
    run: Command,
    tiny_model: TinyModel,
    images: Path,
    tmp_path: Path,
    number: signal.Signals,
    code: int,
    more: tuple[str, ...],
) -> None:
    started = start("--input", str(images), "--shard-size", "50", *more)
    started.wait_until(lambda: started.parts() >= 2)
    returned, lines = started.stopped_by(number)
    parts = part_files(started.output)
    (run_id,) = {run_of_part(f"{part.parent.name}/{part.name}") for part in parts}
    assert run_id is not None
    started.check_temporary()
    assert returned == code
    assert lines[-3:] == [
        "stopped",
        f"  {len(parts)} shards of {run_id} are finished and kept; to go on from here:",
        f"  {started.resume}",
    ]
    assert not [line for line in lines[:-3] if not is_progress(line)]
    assert listed_images(started.output, run_id) == len(list(images.iterdir()))
    assert not list(started.output.glob(".staging-*")) or more
    done = run(*started.resume.split()[3:])
    assert done.code == 0
    assert not [line for line in done.err.splitlines() if not is_progress(line)]
    assert done.out.startswith(f"{len(list(images.iterdir())):,} images listed, ")


def is_progress(line: str) -> bool:
    return re.match(r"listing and loading, \d+ s$|[\d,]+ of [\d,]+ images, ", line) is not None


@pytest.mark.usefixtures("built")
def test_while_it_reads_back_what_was_written(
    start: Callable[..., Started],
    run: Command,
    tiny_model: TinyModel,
    tmp_path: Path,
) -> None:
    script = (
        "import sys, time; from pipeline.running import outcome; from pipeline.run import main\n"
        "def read_slowly(*_):\n    print('reading', file=sys.stderr, flush=True)\n"
        "    time.sleep(60)\n"
        "outcome.read_account = read_slowly\nmain()"
    )
    started = start("--input", str(PHOTOS), "--shard-size", "5", script=script)
    started.wait_for_line("reading")
    code, lines = started.stopped_by(signal.SIGTERM)
    started.check_temporary()
    assert (code, lines[0]) == (143, "stopped")
    assert re.match(r"  3 shards of r-.* are finished and kept; to go on from here:", lines[1])
    assert not (started.output / "runs").exists()
    again = run(
        "--input", str(PHOTOS), "--output", str(started.output), "--resume", *tiny_model.options()
    )
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith("12 images listed, 0 predicted, 0 failed, 12 skipped")


@pytest.mark.usefixtures("built")
def test_no_worker_process_outlives_a_run_that_is_killed(
    start: Callable[..., Started], run: Command, tiny_model: TinyModel, tmp_path: Path
) -> None:
    folder = thumbnails(tmp_path / "in", 1500)
    started = start("--input", str(folder), "--shard-size", "50", *MULTI_PROCESSING)
    started.wait_until(lambda: started.parts() >= 2)
    started.process.kill()
    started.process.communicate()
    started.check_processes()
    # Nobody waits for the claim of a process that is gone.
    done = run(*started.resume.replace(" ".join(MULTI_PROCESSING), "").split()[3:])
    assert done.code == 0
    assert not [line for line in done.err.splitlines() if not is_progress(line)]
    assert done.out.startswith("1,500 images listed, ")


@pytest.mark.usefixtures("built")
def test_warnings_go_to_a_file_or_with_verbose_to_the_screen(
    start: Callable[..., Started], run: Command, tiny_model: TinyModel, tmp_path: Path
) -> None:
    options = ("--input", str(PHOTOS / "cat.jpg"), "--direct_num_workers=2")
    warning = "If direct_num_workers is not equal to 1"
    quiet = start(*options)
    assert quiet.process.communicate(timeout=60)[1] == ""
    (log,) = quiet.temporary.iterdir()
    assert warning in log.read_text()
    loud = run(*options, "--output", str(tmp_path / "loud"), "--verbose", *tiny_model.options())
    assert loud.code == 0
    assert warning in loud.err
