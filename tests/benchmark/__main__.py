"""`make bench`: images/s, start and memory of the project and its peers, in alternating rounds."""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.table import Table

from tests.benchmark.limit import measure_limit
from transforms.choices import Precision
from transforms.cores import available_cores
from transforms.models.artifact import NetworkRequest, network_for

_PHOTOS = Path("tests/data/photos")
_FIRST_SHARD = 64  # images in the first file, whose appearance is the first row
_LABEL = {
    "float32": "mobilenet-beam, float32",
    "int8": "mobilenet-beam, int8",
    "keras": "Keras image_dataset + predict",
    "stock": "Beam's stock RunInference",
}


class Timing(NamedTuple):
    """One whole process."""

    job: float  # images/s from the first look at the folder to the last result
    whole: float  # images/s from the start of the process to its end
    steady: float | None  # images/s between the first file of results and the last
    first_row: float | None  # seconds until the first file of results
    megabytes: float  # largest resident set


@click.command()
@click.option("--images", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--weights", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--count", default=1000, show_default=True, help="Images to make without --images.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--json", "json_path", default="build/bench.json", show_default=True)
def main(
    images: Path | None, weights: Path | None, count: int, rounds: int, json_path: str
) -> None:
    """Compares MobileNet v1 1.0/224 on the same images, all in this session."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = images or copies_of_photographs(_PHOTOS, Path(scratch) / "images", count)
        weights = weights or random_weights(Path(scratch) / "random.weights.h5")
        number = sum(1 for _ in folder.iterdir())
        if number <= _FIRST_SHARD:
            raise click.UsageError(f"{number} images are too few: give more than {_FIRST_SHARD}")
        contenders: dict[str, Callable[[], Timing]] = {
            "float32": lambda: time_project(folder, number, weights, "float32"),
            "int8": lambda: time_project(folder, number, weights, "int8"),
            "keras": lambda: time_peer("keras", folder, number, weights),
            "stock": lambda: time_peer("stock", folder, number, weights),
        }
        networks = {p: build(weights, p) for p in ("float32", "int8")}
        timings: dict[str, list[Timing]] = {name: [] for name in contenders}
        limits: dict[str, list[float]] = {name: [] for name in networks}
        for _ in range(rounds):
            for name, contender in contenders.items():
                network = networks.get(name)
                before = measure_limit(folder, network, 224).whole if network else 0.0
                timings[name].append(contender())
                if network:  # other work on the machine comes and goes: before and after
                    after = measure_limit(folder, network, 224).whole
                    limits[name].append((before + after) / 2)
    result = summarise(timings, limits, number)
    show(result)
    Path(json_path).parent.mkdir(parents=True, exist_ok=True)
    Path(json_path).write_text(json.dumps(result, indent=2))


def time_project(folder: Path, number: int, weights: Path, precision: str) -> Timing:
    """The real command, its network already built."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out"
        command = [sys.executable, "-m", "pipeline.run", "--input", str(folder)]
        command += ["--output", str(out), "--weights", str(weights)]
        command += ["--precision", precision, "--shard-size", str(_FIRST_SHARD)]
        ended = _timed(command, out / "predictions")
        (facts,) = (out / "runs").iterdir()
        job = json.loads(facts.read_text())["images_per_second"]
        times = sorted(part.stat().st_mtime for part in out.glob("predictions/*/*.parquet"))
        steady = (number - _FIRST_SHARD) / (times[-1] - times[0])
    return Timing(job, number / ended.seconds, steady, ended.first_row, ended.megabytes)


def time_peer(name: str, folder: Path, number: int, weights: Path) -> Timing:
    """A peer, its libraries imported before its own clock starts."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "tests.benchmark.peers", name]
        command += [str(folder), str(weights), str(Path(scratch) / "out")]
        ended = _timed(command, None)
    seconds = float(ended.output.split("seconds ")[-1])
    return Timing(number / seconds, number / ended.seconds, None, None, ended.megabytes)


class _Ended(NamedTuple):
    output: str
    seconds: float
    first_row: float | None
    megabytes: float


def _timed(command: list[str], results: Path | None) -> _Ended:
    started = time.monotonic()
    first_row = None
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if results and first_row is None and any(results.glob("*/*.parquet")):
                first_row = time.monotonic() - started
            time.sleep(0.02)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return _Ended(text, seconds, first_row, _megabytes(usage))


def _megabytes(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / 1024


def build(weights: Path, precision: Precision) -> str:
    """Builds the network beforehand, as a second run finds it; its path."""
    request = NetworkRequest(
        name="mobilenet",
        weights_file=str(weights),
        weights_name=str(weights),
        alpha=1.0,
        image_size=224,
        classes=1000,
        precision=precision,
        engine="litert",
    )
    return network_for(request, print).path


def copies_of_photographs(photographs: Path, folder: Path, count: int) -> Path:
    """`count` files of `photographs`, again and again."""
    folder.mkdir(parents=True)
    paths = sorted(path for path in photographs.iterdir() if path.suffix == ".jpg")
    for n in range(count):
        path = paths[n % len(paths)]
        shutil.copy(path, folder / f"{n:06d}{path.suffix}")
    return folder


def random_weights(path: Path, alpha: float = 1.0) -> Path:
    """Weights for MobileNet v1 of 224 pixels that take as long as trained ones."""
    script = (
        "import sys, keras; keras.utils.set_random_seed(0);"
        "model = keras.applications.MobileNet(alpha=float(sys.argv[2]), weights=None);"
        "model.save_weights(sys.argv[1])"
    )
    arguments = [str(path), str(alpha)]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, capture_output=True)
    return path


def summarise(
    timings: dict[str, list[Timing]], limits: dict[str, list[float]], images: int
) -> dict[str, Any]:
    """Medians, and medians of the ratios within a round."""
    rows = {}
    for name, rounds in timings.items():
        first = [timing.first_row for timing in rounds if timing.first_row is not None]
        rows[name] = {
            "job": statistics.median(timing.job for timing in rounds),
            "whole": statistics.median(timing.whole for timing in rounds),
            "first_row_s": statistics.median(first) if first else None,
            "megabytes": max(timing.megabytes for timing in rounds),
            "rounds": [timing._asdict() for timing in rounds],
        }
        for peer in ("keras", "stock"):
            rows[name][f"times_{peer}"] = statistics.median(
                mine.job / other.job for mine, other in zip(rounds, timings[peer], strict=True)
            )
        if name in limits:
            rows[name]["limit"] = statistics.median(limits[name])
            steady = [timing.steady or 0.0 for timing in rounds]
            rows[name]["steady"] = statistics.median(steady)
            rows[name]["share_of_limit"] = statistics.median(
                mine / limit for mine, limit in zip(steady, limits[name], strict=True)
            )
    return {"images": images, "cores": available_cores(), "contenders": rows}


_HEADINGS = (
    "",
    "images/s",
    "with start",
    "x Keras",
    "x stock",
    "steady",
    "of limit",
    "1st row",
    "MB",
)


def show(result: dict[str, Any]) -> None:
    """Prints the table."""
    table = Table(title=f"{result['images']:,} images, {result['cores']} cores, medians")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for name, row in result["contenders"].items():
        ours = "share_of_limit" in row
        table.add_row(
            _LABEL[name],
            f"{row['job']:.0f}",
            f"{row['whole']:.0f}",
            f"{row['times_keras']:.1f}",
            f"{row['times_stock']:.1f}",
            f"{row['steady']:.0f}" if ours else "",
            f"{row['share_of_limit']:.0%}" if ours else "",
            f"{row['first_row_s']:.1f} s" if ours else "",
            f"{row['megabytes']:.0f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
