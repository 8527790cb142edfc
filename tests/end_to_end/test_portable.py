"""The portable path for real: a job service and external workers, each a process of its own."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.running.workers import LOST
from tests.end_to_end.test_run import rows_of, run_facts
from tests.helpers.hosts import HERE
from tests.helpers.model_fixtures import PHOTOS, Command, Run, TinyModel
from tests.helpers.portable import Cluster
from transforms.layout import PREDICTIONS
from transforms.metrics import MEANINGS
from transforms.storage import join, storage_for

COPIES = 40
END_TIMEOUT_S = 30
SILENT_TIMEOUT_S = 120  # who says nothing is asked after 20 s, and given up 60 s later
slow = pytest.mark.slow


@pytest.fixture
def cluster(caches: dict[str, str]) -> Iterator[Cluster]:
    """A job service over two workers."""
    with Cluster([HERE, HERE], caches) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """480 photographs: a second of work or two."""
    folder = tmp_path_factory.mktemp("many")
    for path in PHOTOS.iterdir():
        for number in range(COPIES):
            shutil.copy(path, folder / f"{number:02}-{path.name}")
    return folder


def parts(output: str) -> list[str]:
    """Names of the finished shards, wherever the output folder is."""
    return storage_for(output).names(join(output, PREDICTIONS))


def without_run(output: Path) -> list[dict[str, Any]]:
    """All rows, but not which run they are of."""
    return [{name: row[name] for name in row if name != "run_id"} for row in rows_of(output)]


@pytest.fixture(scope="module")
def here(
    run: Command, tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[str], Path]:
    """Options of a job, and what it gives in one process."""
    output = tmp_path_factory.mktemp("here")
    options = ["--input", str(PHOTOS), "--shard-size", "3", *tiny_model.options()]
    assert run(*options, "--output", str(output)).code == 0
    assert len(rows_of(output)) == len(list(PHOTOS.iterdir()))
    metrics = run_facts(output)["metrics"]
    assert metrics["model_loads"] == 1
    assert set(metrics) == set(MEANINGS) - {"skipped"}  # nothing else: no image failed
    return options, output


def struck_in_the_middle(
    job: subprocess.Popen[str], output: str, strike: Callable[[], None], timeout: float
) -> Run:
    """A job after `strike`, which happens once two shards are there; within `timeout` seconds."""
    end = time.monotonic() + END_TIMEOUT_S
    while len(parts(output)) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    strike()
    try:
        out, err = job.communicate(timeout=timeout)
    finally:
        job.kill()
        job.communicate()
    return Run(job.returncode, out, err)


def test_two_workers_give_the_rows_of_one_process(
    cluster: Cluster, here: tuple[list[str], Path], tmp_path: Path
) -> None:
    (options, expected), there = here, tmp_path / "there"
    done = cluster.run(*options, "--output", str(there), f"--temp_location={tmp_path / 'tmp'}")
    assert (done.code, done.err) == (0, "")
    assert without_run(there) == without_run(expected)
    metrics = run_facts(there)["metrics"]
    assert metrics["model_loads"] == 2
    for name in ("read_us", "decode_us"):
        assert metrics[name]["count"] == len(list(PHOTOS.iterdir()))
        assert 0 < metrics[name]["min"] <= metrics[name]["mean"] <= metrics[name]["max"]
    (archive,) = (tmp_path / "tmp").rglob("*.tar")
    assert archive.parents[1] == tmp_path / "tmp" / "mobilenet-beam" / "networks"


def test_loopback_gives_the_rows_of_one_process(
    run: Command, here: tuple[list[str], Path], tmp_path: Path
) -> None:
    (options, expected), there = here, tmp_path / "there"
    portable = ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"]
    done = run(*options, *portable, "--output", str(there))
    assert (done.code, done.err) == (0, "")
    assert without_run(there) == without_run(expected)


def test_a_command_that_is_stopped_leaves_its_job_and_says_how_to_go_on(
    cluster: Cluster, tiny_model: TinyModel, many: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    job = cluster.start(
        *("--input", str(many), "--output", str(out), "--shard-size", "8"), *tiny_model.options()
    )
    done = struck_in_the_middle(job, str(out), job.terminate, END_TIMEOUT_S)
    assert done.code == 143
    *_, stopped, kept, resume = done.err.splitlines()  # what comes before them is progress
    assert stopped == "stopped"
    assert kept.endswith(" are finished and kept; to go on from here:")
    assert resume.endswith(" --resume")


@pytest.mark.parametrize("lost", ["worker", "service", pytest.param("frozen worker", marks=slow)])
def test_a_job_that_loses_a_process_fails_and_keeps_its_shards(
    cluster: Cluster, tiny_model: TinyModel, many: Path, tmp_path: Path, lost: str
) -> None:
    out = tmp_path / "out"
    job = cluster.start(
        *("--input", str(many), "--output", str(out), "--shard-size", "8"), *tiny_model.options()
    )
    pid = cluster.service_pid if lost == "service" else cluster.pids[0]
    how, timeout = signal.SIGKILL, END_TIMEOUT_S
    if lost == "frozen worker":
        how, timeout = signal.SIGSTOP, SILENT_TIMEOUT_S
    done = struck_in_the_middle(job, str(out), lambda: os.kill(pid, how), timeout)
    assert done.code == 1
    *_, error, traceback, kept, _ = done.err.splitlines()  # what comes before them is progress
    why = "the job service is gone: " if lost == "service" else f"RuntimeError: {LOST}"
    assert error.startswith(f"error: the run failed: {why}")
    assert kept.endswith(" are finished and kept; to go on from here:")
    Path(traceback.removeprefix("  the traceback is in ")).unlink()
    finished = parts(str(out))
    assert [pq.read_metadata(out / PREDICTIONS / part).num_rows for part in finished] == (
        [8] * len(finished)
    )
    assert len(finished) >= 2
    if lost != "service":  # without the service, the workers go on with what they were given
        assert len(finished) < len(list(many.iterdir())) // 8
    assert not (out / "runs").exists()
