"""Processes killed with SIGKILL at any moment: what is written stays, `--resume` does the rest.

The slow tests survive a hundred kills each of the launcher and of a worker over 10,000 images.
"""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.helpers.hosts import HERE
from tests.helpers.model_fixtures import PHOTOS, ROOT, Command, TinyModel
from tests.helpers.outputs import part_bytes, part_files, query
from tests.helpers.portable import Cluster
from transforms.layout import run_of_part
from transforms.ledger import read_ledger

MOST_SECONDS = 120.0


def thumbnails(folder: Path, count: int) -> Path:
    """`count` small images under names of their own."""
    from PIL import Image

    folder.mkdir()
    originals = []
    for path in sorted(PHOTOS.iterdir()):
        with Image.open(path) as image:
            originals.append(folder / f"{path.stem}.jpg")
            image.convert("RGB").resize((48, 48)).save(originals[-1])
    for number in range(count - len(originals)):
        os.link(originals[number % len(originals)], folder / f"{number:05}.jpg")
    return folder


def digests(output: Path) -> dict[str, str]:
    """Every part file and the SHA-256 of its bytes."""
    return {name: hashlib.sha256(b).hexdigest() for name, b in part_bytes(output).items()}


def moment(random_: random.Random, output: Path) -> Callable[[], bool]:
    """Tells when to kill: at some time, or while a shard is being put in place."""
    if random_.random() < 0.3:
        return lambda: any(name.startswith(".staging-") for name in names(output))
    parts = len(part_files(output)) + random_.randrange(1, 12)
    later = time.monotonic() + random_.uniform(0.5, 8)
    return lambda: len(part_files(output)) >= parts or time.monotonic() > later


def names(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []


def kill_when(ready: Callable[[], bool], pid: int, process: subprocess.Popen[str]) -> bool:
    """Kills `pid` at that moment; whether `process` was still at work then."""
    end = time.monotonic() + MOST_SECONDS
    while process.poll() is None and not ready():
        assert time.monotonic() < end, "the run neither ends nor gets on"
        time.sleep(0.0005)
    if process.poll() is not None:
        return False
    os.kill(pid, signal.SIGKILL)
    return True


def start_launcher(options: list[str], caches: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.run", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=os.environ | caches | {"PYTHONPATH": str(ROOT)},
    )


def listed_images(output: Path, run_id: str) -> int:
    """By the ledger, which is there before the first shard."""
    return sum(line.images for line in read_ledger(str(output), run_id) if line.kind == "bucket")


def check_every_image_has_one_row(output: Path, images: int) -> None:
    """No image is missing, none has two rows: nothing finished was done again."""
    (counts,) = query(
        "SELECT count(*) AS rows, count(DISTINCT uri) AS uris, count(error) AS errors "
        f"FROM '{output}/predictions/*/*.parquet'"
    )
    assert counts == {"rows": images, "uris": images, "errors": 0}


def survive_launcher_kills(
    run: Command, options: list[str], caches: Mapping[str, str], output: Path, kills: int
) -> None:
    random_ = random.Random(20261124)
    images = len(list(Path(options[1]).iterdir()))
    for _ in range(kills):
        before = digests(output)
        process = start_launcher(options, caches)
        killed = kill_when(moment(random_, output), process.pid, process)
        process.wait()
        after = digests(output)
        assert {name: after.get(name) for name in before} == before
        for run_id in {str(run_of_part(name.partition("/")[2])) for name in after}:
            assert listed_images(output, run_id) == images
        if not killed:
            assert process.returncode == 0
            check_every_image_has_one_row(output, images)
            shutil.rmtree(output)
    done = run(*options)
    assert (done.code, done.err) == (0, "")
    check_every_image_has_one_row(output, images)


def survive_worker_kills(
    options: list[str], caches: Mapping[str, str], output: Path, kills: int
) -> None:
    random_ = random.Random(20261124)
    images = len(list(Path(options[1]).iterdir()))
    for _ in range(kills):
        before = digests(output)
        with Cluster([HERE, HERE], caches) as cluster:
            process = cluster.start(*options)
            killed = kill_when(moment(random_, output), random_.choice(cluster.pids), process)
            _, err = process.communicate(timeout=MOST_SECONDS)
        assert process.returncode in ((0, 1) if killed else (0,)), err
        after = digests(output)
        assert {name: after.get(name) for name in before} == before
        if process.returncode == 0:
            check_every_image_has_one_row(output, images)
            shutil.rmtree(output)
    with Cluster([HERE, HERE], caches) as cluster:
        done = cluster.run(*options)
    assert (done.code, done.err) == (0, "")
    check_every_image_has_one_row(output, images)


def options_for(tiny_model: TinyModel, folder: Path, output: Path, shard_size: int) -> list[str]:
    return [
        *("--input", str(folder), "--output", str(output), "--resume"),
        *("--shard-size", str(shard_size), *tiny_model.options()),
    ]


def warm_cache(run: Command, tiny_model: TinyModel, tmp_path: Path) -> None:
    """Builds the network, so that kills fall into the run itself."""
    out = str(tmp_path / "warm")
    assert run("--input", str(PHOTOS), "--output", out, *tiny_model.options()).code == 0


def test_a_launcher_killed_at_any_moment_goes_on_where_it_was(
    run: Command, tiny_model: TinyModel, caches: dict[str, str], tmp_path: Path
) -> None:
    warm_cache(run, tiny_model, tmp_path)
    folder = thumbnails(tmp_path / "in", 2000)
    options = options_for(tiny_model, folder, tmp_path / "out", 50)
    survive_launcher_kills(run, options, caches, tmp_path / "out", kills=3)


@pytest.mark.slow
def test_a_hundred_kills_of_the_launcher(
    run: Command, tiny_model: TinyModel, caches: dict[str, str], tmp_path: Path
) -> None:
    warm_cache(run, tiny_model, tmp_path)
    folder = thumbnails(tmp_path / "in", 10_000)
    options = options_for(tiny_model, folder, tmp_path / "out", 100)
    survive_launcher_kills(run, options, caches, tmp_path / "out", kills=100)


def test_a_worker_killed_in_the_middle_of_a_bundle_costs_only_its_shards_under_way(
    run: Command, tiny_model: TinyModel, caches: dict[str, str], tmp_path: Path
) -> None:
    warm_cache(run, tiny_model, tmp_path)
    folder = thumbnails(tmp_path / "in", 2000)
    options = options_for(tiny_model, folder, tmp_path / "out", 50)
    survive_worker_kills(options, caches, tmp_path / "out", kills=1)


@pytest.mark.slow
def test_a_hundred_kills_of_a_worker(
    run: Command, tiny_model: TinyModel, caches: dict[str, str], tmp_path: Path
) -> None:
    warm_cache(run, tiny_model, tmp_path)
    folder = thumbnails(tmp_path / "in", 10_000)
    options = options_for(tiny_model, folder, tmp_path / "out", 100)
    survive_worker_kills(options, caches, tmp_path / "out", kills=100)


@pytest.mark.slow
def test_fifty_runs_with_other_labels_and_shards_leave_no_stale_row(
    run: Command, tiny_model: TinyModel, tmp_path: Path
) -> None:
    random_ = random.Random(0)
    folder, output = thumbnails(tmp_path / "in", 300), tmp_path / "out"
    uris = sorted(str(path) for path in folder.iterdir())
    for number in range(50):
        names_ = [f"{name}-{random_.randrange(3)}" for name in ("a", "b", "c", "d")]
        labels = tmp_path / "labels.txt"
        labels.write_text("\n".join(names_))
        done = run(
            *("--input", str(folder), "--output", str(output), "--resume"),
            *("--model", str(tiny_model.path), "--labels", str(labels), "--top-k", "2"),
            *("--shard-size", str(random_.randrange(20, 301))),
        )
        assert (done.code, number) == (0, number)
        current = query(
            f"SELECT uri, label, model FROM '{output}/predictions/*/*.parquet' "
            "QUALIFY row_number() OVER (PARTITION BY uri ORDER BY run_id DESC) = 1 ORDER BY uri"
        )
        assert [row["uri"] for row in current] == uris
        assert {row["label"] for row in current} <= set(names_)
        assert len({row["model"] for row in current}) == 1
