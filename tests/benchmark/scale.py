"""`python -m tests.benchmark.scale`: what grows with the number of images, and what must not.

`listing` lists, makes distinct, joins with earlier rows and accounts for a manifest without
classifying; `growth` runs the real command over few and over many images in turn.
"""

import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

import apache_beam as beam
import click
import pyarrow as pa
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from pipeline.options import RunOptions
from tests.benchmark.__main__ import random_weights
from transforms.cut_shards import CutShards
from transforms.earlier_rows import ReadEarlierRows
from transforms.layout import part_name
from transforms.ledger import LedgerLine, WriteLedger
from transforms.list_images import ListImages, Source
from transforms.schema import SCHEMA, parquet_bytes

_MODEL = "model@0"
_SHARD_SIZE = RunOptions.shard_size


@click.group()
def main() -> None:
    """Measures how a run grows."""


@main.command()
@click.option("--lines", default=1_000_000, show_default=True)
def listing(lines: int) -> None:
    """A manifest from its first line to the ledger: of a first run, and of one that resumes."""
    with tempfile.TemporaryDirectory() as scratch:
        uris = [f"gs://bucket/photos/2026/{number:09}.jpg" for number in range(lines)]
        manifest, output = Path(scratch) / "list.txt", Path(scratch) / "out"
        manifest.write_text("\n".join(uris) + "\n")
        for start in range(0, lines, _SHARD_SIZE):
            rows = [{"uri": u, "model": _MODEL} for u in uris[start : start + _SHARD_SIZE]]
            part = output / part_name(f"{start // _SHARD_SIZE:05}", "r-1")
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(parquet_bytes(pa.Table.from_pylist(rows, SCHEMA)))
        del uris
        for resume in (False, True):
            what = "resumed" if resume else "first run"
            seconds, megabytes = _in_a_process(_list, str(manifest), str(output), resume)
            click.echo(f"{lines:,} lines, {what}: {seconds:.1f} s, {megabytes:,.0f} MB resident")


def _list(manifest: str, output: str, resume: bool) -> None:
    p = beam.Pipeline(runner=FnApiRunner())
    listed = p | beam.Create([Source("manifest", manifest)]) | ListImages(output)
    earlier = p | ReadEarlierRows(output, "r-2", _MODEL, resume)
    buckets = listed | CutShards(earlier, _SHARD_SIZE)
    lines = buckets | beam.FlatMap(attrgetter("lines")).with_output_types(LedgerLine)
    _ = lines | WriteLedger(output, "r-2")
    p.run().wait_until_finish()


def _in_a_process(function: Callable[..., None], *arguments: object) -> tuple[float, float]:
    """Seconds and resident megabytes of a function in a child of its own."""
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        function(*arguments)
        os._exit(0)
    _, status, usage = os.wait4(child, 0)
    if status != 0:
        raise RuntimeError(f"{function.__name__} ended with status {status}")
    return time.monotonic() - started, usage.ru_maxrss / 1024


@main.command()
@click.option("--images", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--few", default=10_000, show_default=True)
@click.option("--many", default=100_000, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def growth(images: Path, few: int, many: int, rounds: int) -> None:
    """images/s and resident memory over `few` and `many` hard links, in turn; alpha 0.25, int8."""
    with tempfile.TemporaryDirectory(dir=images.parent) as scratch:
        weights = random_weights(Path(scratch) / "random.weights.h5", alpha=0.25)
        _classify(images, Path(scratch) / "warm", weights)  # builds the network
        sizes = (few, many)
        folders = [_links(images, Path(scratch) / str(size), size) for size in sizes]
        rates: dict[int, list[float]] = {size: [] for size in sizes}
        for number, (size, folder) in itertools.product(
            range(rounds), zip(sizes, folders, strict=True)
        ):
            output = Path(scratch) / f"out-{size}-{number}"
            rate, megabytes = _classify(folder, output, weights)
            rates[size].append(rate)
            click.echo(f"{size:,} images: {rate:.0f} images/s, {megabytes:,.0f} MB resident")
        few_rate, many_rate = (statistics.median(rates[size]) for size in sizes)
        click.echo(f"medians: {few_rate:.0f} and {many_rate:.0f}, {many_rate / few_rate - 1:+.1%}")


def _links(images: Path, folder: Path, count: int) -> Path:
    originals = sorted(images.iterdir())
    folder.mkdir()
    for number in range(count):
        os.link(originals[number % len(originals)], folder / f"{number:07}.jpg")
    return folder


def _classify(folder: Path, output: Path, weights: Path) -> tuple[float, float]:
    command = [sys.executable, "-m", "pipeline.run", "--input", str(folder)]
    command += ["--output", str(output), "--weights", str(weights), "--alpha", "0.25"]
    process = subprocess.Popen(
        [*command, "--precision", "int8"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"the run ended with {process.returncode}")
    (facts,) = (output / "runs").iterdir()
    return json.loads(facts.read_text())["images_per_second"], _megabytes(usage)


def _megabytes(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
