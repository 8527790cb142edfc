"""One engine for many threads, or for many processes."""

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from apache_beam.utils.multi_process_shared import MultiProcessShared
from numpy.typing import NDArray

from tests.end_to_end.test_portable import without_run
from tests.end_to_end.test_run import run_facts
from tests.helpers.model_fixtures import PHOTOS, Command, TinyModel
from tests.helpers.waiting import wait_until
from transforms.engines import EngineSetup, sharing
from transforms.engines.sharing import OwnedEngines, SharedEngine
from transforms.records import Pixels

PIXELS = np.zeros((2, 2, 3), np.uint8)
Found = tuple[NDArray[np.intp], NDArray[np.float32]]


class MeanEngine:
    """Answers with the mean of each image and with the process it runs in."""

    def top_k(self, images: Sequence[Pixels]) -> Found:
        means = np.array([[image.mean()] for image in images], np.float32)
        return np.full((len(images), 1), os.getpid()), means


class MeetingEngine(MeanEngine):
    """Answers once it is asked at the same time as another process is."""

    def top_k(self, images: Sequence[Pixels]) -> Found:
        (Path(os.environ["MEETING"]) / str(os.getpid())).touch()
        wait_until(lambda: len(os.listdir(os.environ["MEETING"])) == 2)
        return super().top_k(images)


def owner() -> SharedEngine:
    logging.disable()
    return SharedEngine(MeetingEngine())


def test_an_engine_is_counted_once_whoever_asks() -> None:
    shared = SharedEngine(MeanEngine())
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: shared.take_loads(), range(16))) == 1


@pytest.fixture
def two_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnedEngines]:
    monkeypatch.setenv("MEETING", str(tmp_path / "meeting"))
    (tmp_path / "meeting").mkdir()
    owners = [
        MultiProcessShared(
            owner, tag=str(gpu), path=str(tmp_path), always_proxy=True, spawn_process=True
        )
        for gpu in range(2)
    ]
    yield OwnedEngines([each.acquire() for each in owners])
    for each in owners:
        with pytest.raises((EOFError, ConnectionError)):  # it ends before it can answer
            each.unsafe_hard_delete()


def test_batches_go_to_idle_owners_in_processes_of_their_own(two_owners: OwnedEngines) -> None:
    images = [np.full_like(PIXELS, value) for value in (3, 7)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(two_owners.top_k, [images] * 2))
    pids = {int(pid) for classes, _ in found for pid in classes.flat}
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert all(scores.tolist() == [[3.0], [7.0]] for _, scores in found)
    assert [two_owners.take_loads(), two_owners.take_loads()] == [2, 0]


class FailingOnce(MeanEngine):
    def __init__(self) -> None:
        self.failed = False

    def top_k(self, images: Sequence[Pixels]) -> Found:
        if not self.failed:
            self.failed = True
            raise RuntimeError("out of luck")
        return super().top_k(images)


@pytest.mark.timeout(40)  # without an owner, the second batch would wait for good
def test_an_owner_that_fails_on_a_batch_takes_the_next() -> None:
    engines = OwnedEngines([SharedEngine(FailingOnce())])
    with pytest.raises(RuntimeError, match="out of luck"):
        engines.top_k([PIXELS])
    assert engines.top_k([PIXELS + 5])[1].tolist() == [[5.0]]


def test_the_owner_of_a_gpu_sees_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def load(*_: object) -> MeanEngine:
        seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
        return MeanEngine()

    monkeypatch.setattr(sharing, "load_engine", load)
    monkeypatch.setattr(logging, "disable", lambda: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    setup = EngineSetup("tensorflow", "network", 2, top_k=1, batch_size=8, threads=1)
    for gpu in ("1", "0"):
        sharing._load_on(setup, gpu)
    assert seen == ["1", "0"]


@pytest.mark.parametrize(
    ("engine", "gpus", "siblings", "owners"),
    [
        ("litert", "0,1", True, 0),
        ("tensorflow", "", False, 0),
        ("tensorflow", "0", False, 0),
        ("tensorflow", "0", True, 1),
        ("tensorflow", "-1", True, 1),
        ("tensorflow", "0,1", False, 2),
        ("tensorflow", "0,1", True, 2),
    ],
)
def test_what_is_there_decides_who_owns_the_engine(
    monkeypatch: pytest.MonkeyPatch, engine: str, gpus: str, siblings: bool, owners: int
) -> None:
    tags = set()

    class Here:
        """Instead of a process."""

        def __init__(self, load: partial[SharedEngine], tag: str, **_: bool) -> None:
            tags.add(tag)

        def acquire(self) -> SharedEngine:
            return SharedEngine(MeanEngine())

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    monkeypatch.setattr(sharing, "MultiProcessShared", Here)
    monkeypatch.setattr(sharing, "load_engine", lambda *_: MeanEngine())
    setup = EngineSetup(engine, "network", 2, 1, 8, 1)  # type: ignore[arg-type]  # a table
    loaded = sharing.shared_engine(setup, siblings, "run")
    assert isinstance(loaded, OwnedEngines if owners else SharedEngine)
    assert loaded.take_loads() == max(1, owners)
    assert len(tags) == owners


@pytest.mark.slow  # four imports of TensorFlow
def test_worker_processes_share_the_owner_of_each_gpu(
    run: Command, tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")  # there are none: TensorFlow takes the CPU
    options = ["--input", str(PHOTOS), "--shard-size", "2", *tiny_model.options()]
    outputs = tmp_path / "one", tmp_path / "many"
    many = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    assert run(*options, "--output", str(outputs[0]), "--engine", "litert").code == 0
    done = run(*options, *many, "--output", str(outputs[1]), "--engine", "tensorflow")
    assert done.code == 0
    own = "listing and loading, ", "building tiny for tensorflow"
    assert [line for line in done.err.splitlines() if not line.startswith(own)] == []
    expected, rows = map(without_run, outputs)
    assert [row["class_index"] for row in rows] == [row["class_index"] for row in expected]
    assert run_facts(outputs[1])["metrics"]["model_loads"] == 2
