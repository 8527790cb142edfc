"""`python -m deploy.simulate`: what a billion images need, from measured rates and named guesses.

The inputs stand in billion.json, each with where it comes from; `--set NAME=VALUE` changes one.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from apache_beam.coders.typecoders import registry
from apache_beam.typehints import Tuple

from deploy.gpu_worker import Inputs, worker_limit, worker_rate
from transforms.models.labels import Label
from transforms.records import ClassifiedImage, ListedImage, Mentions, Prediction, Shard, Slot
from transforms.schema import parquet_bytes, row_of

INPUTS: Final = Path(__file__).with_name("billion.json")
URIS: Final = {
    "an object": "gs://my-photos/2026/11/24/{:02x}/IMG_{:09d}.jpg",
    "in a tar": "gs://my-photos/shards/{:05d}.tar::{:09d}.jpg",
}
_VCPUS: Final = (2, 4, 8, 16, 32)
_BUNDLES: Final = (1, 4, 8, 16, 32)
_MODIFIED: Final = 1_795_000_000_000_000
_CLASSES: Final = 1000


def fetches_a_tar(images_a_tar: int, shard_size: int) -> float:
    """How often a tar is fetched for reading: once for each shard that has images of it.

    A bucket's tars lie one after the other and are cut every `shard_size` images; of the cuts only
    those between two tars cost nothing.
    """
    return 1 + (images_a_tar - math.gcd(images_a_tar, shard_size)) / shard_size


def preemption_waste(bundle_s: float, an_hour: float) -> float:
    """Work done again, as a share of the work that counts: a bundle is redone from its start.

    With preemptions at the rate r a bundle of T seconds takes (exp(r T) - 1) / r in the mean.
    """
    expected = bundle_s * an_hour / 3600
    return math.expm1(expected) / expected - 1 if expected else 0.0


def simulated_waste(
    bundle_s: float, an_hour: float, bundles: int = 200_000, seed: int = 0
) -> float:
    """The same by playing it: bundles one after the other, preempted at random moments."""
    rng = np.random.default_rng(seed)
    lost, left = 0.0, bundles
    while left:
        lives = rng.exponential(3600 / an_hour, left)
        lost += float(lives[lives < bundle_s].sum())
        left = int((lives < bundle_s).sum())
    return lost / (bundles * bundle_s)


def hours_of_gets(gets: float, at_first: float, doubling_minutes: float) -> float:
    """The least time for so many requests to one bucket, its rate doubled as fast as advised."""
    seconds, rate = 0.0, at_first
    while gets > rate * doubling_minutes * 60:
        gets -= rate * doubling_minutes * 60
        seconds += doubling_minutes * 60
        rate *= 2
    return (seconds + gets / rate) / 3600


def shuffle_bytes(uri: str, shard_size: int, piece: int) -> tuple[float, float]:
    """Bytes an image to be grouped by bucket and to be spread in shards, by the real coders."""
    images = [
        ListedImage(uri.format(i % 256, i), 110_000 + i, _MODIFIED + i) for i in range(shard_size)
    ]
    keyed = registry.get_coder(Tuple[int, Mentions])
    pieces = [images[start : start + piece] for start in range(0, shard_size, piece)]
    grouped = sum(len(keyed.encode((0, Mentions(listed=each)))) for each in pieces)
    shard = registry.get_coder(Shard).encode(Shard("00000-00000", images))
    return grouped / shard_size, len(shard) / shard_size


def row_bytes(uri: str, shard_size: int, seed: int = 0) -> float:
    """Bytes a row of one part file, its classes and scores at random."""
    rng = np.random.default_rng(seed)
    labels = [Label(i, f"n{i:08d}", f"class number {i}") for i in range(_CLASSES)]
    rows = []
    for i in range(shard_size):
        listed = ListedImage(uri.format(i % 256, i), int(rng.integers(20_000, 200_000)), _MODIFIED)
        classes = rng.integers(_CLASSES, size=5).tolist()
        scores = np.sort(rng.dirichlet(np.ones(5)).astype(np.float32))[::-1].tolist()
        top_k = tuple(map(Prediction, classes, scores))
        slot = Slot("s", shard_size, listed)
        rows.append(
            row_of(ClassifiedImage(slot, 500, 375, "JPEG", top_k, None), labels, "mobilenet")
        )
    return len(parquet_bytes(rows)) / shard_size


def read_inputs(path: Path, changes: Sequence[str]) -> tuple[Inputs, dict[str, dict[str, Any]]]:
    """Values by name, and the whole records, with the changes made.

    Raises:
        click.UsageError: a change names no input or gives no number.
    """
    records = json.loads(path.read_text())
    for change in changes:
        name, _, value = change.partition("=")
        try:
            records[name] = {"value": json.loads(value), "kind": "given", "from": "--set"}
        except ValueError as error:
            raise click.UsageError(f"--set {change!r}: {value!r} is no number") from error
    known = set(json.loads(path.read_text()))
    if unknown := sorted(set(records) - known):
        raise click.UsageError(f"--set {unknown[0]}: there is no such input in {path.name}")
    return {name: record["value"] for name, record in records.items()}, records


def report(inputs: Inputs, records: dict[str, dict[str, Any]]) -> Iterator[str]:
    """The plan, line by line."""
    yield "Inputs"
    for name, record in records.items():
        value = record["value"]
        shown = " ".join(map(str, value)) if isinstance(value, list) else f"{value:,}"
        yield f"  {name:16} {shown:>19}  {record['kind']:10} {record['from']}"
    yield from _requests(inputs)
    yield from _bytes(inputs)
    yield from _workers(inputs)
    yield from _preemption(inputs)


def _requests(inputs: Inputs) -> Iterator[str]:
    images, a_tar = inputs["images"], inputs["images_a_tar"]
    fetches = fetches_a_tar(a_tar, inputs["shard_size"])
    yield "\nRequests                                GETs   dollars   least hours for one bucket"
    for name, gets in (
        ("objects, one GET an image", images),
        ("tars, listed and read", images / a_tar * (1 + fetches)),
    ):
        least = hours_of_gets(gets, inputs["gets_at_first"], inputs["doubling_minutes"])
        dollars = gets / 1e6 * inputs["get_dollars"]
        yield f"  {name:27} {gets:16,.0f} {dollars:9,.2f}   {least:8.2f}"
    yield f"  A tar is fetched once to be listed and {fetches:.2f} times to be read."
    pages = images / 1000 * inputs["page_s"] / 3600
    yield f"  Objects are listed in {pages:,.1f} h by one --input, in {pages / 256:,.2f} h by 256."
    cores = images / inputs["headers"] / 3600
    fetched = images * inputs["image_bytes"] / inputs["fetch_mb"] / 1e6 / 3600
    streams = inputs["workers"] * inputs["bundles"]
    yield (
        f"  Tars are listed in {(fetched + cores) / streams:,.1f} h by {streams:,} bundles at "
        f"once: {fetched:,.0f} h of fetching, {cores:,.0f} h of parsing."
    )


def _bytes(inputs: Inputs) -> Iterator[str]:
    images, size = inputs["images"], inputs["shard_size"]
    yield "\nBytes an image, by the real coders    grouped   spread    row  shuffled    output"
    for name, uri in URIS.items():
        grouped, spread = shuffle_bytes(uri, size, inputs["piece"])
        row = row_bytes(uri, size)
        length = len(uri.format(1, 1))
        shuffled, output = images * (grouped + spread) / 1e9, images * row / 1e9
        yield (
            f"  {name:9}, a URI of {length} characters {grouped:10.1f} {spread:8.1f} {row:6.1f} "
            f"{shuffled:6,.0f} GB {output:6,.0f} GB"
        )
    yield f"  {math.ceil(images / size):,} part files of {size:,} rows."


def _workers(inputs: Inputs) -> Iterator[str]:
    vcpus, get_s = inputs["worker_vcpus"], inputs["get_s"]
    yield "\nGPU workers reading tars: images/s simulated, of min(vCPUs x decode, GPU)"
    yield "  GPU alone   vCPUs for it" + "".join(f"{n:>8} vCPUs" for n in _VCPUS)
    for gpu in inputs["gpu"]:
        cells = "".join(_cell(n, gpu, inputs) for n in _VCPUS)
        yield f"  {gpu:9,} {math.ceil(gpu / inputs['decode']):14}{cells}"
    yield f"\nThe same on {vcpus} vCPUs reading objects, a GET of {get_s * 1000:.0f} ms each"
    yield "  GPU alone  bundles for it" + "".join(f"{n:>6} bundles" for n in _BUNDLES)
    for gpu in inputs["gpu"]:
        cells = "".join(_cell(vcpus, gpu, inputs | {"bundles": n}, get_s) for n in _BUNDLES)
        needed = math.ceil(min(gpu, vcpus * inputs["decode"]) * get_s / inputs["readers"])
        yield f"  {gpu:9,} {needed:14}{cells}"
    yield f"\nHours for {inputs['images']:,} images on {inputs['workers']} workers of {vcpus} vCPUs"
    fetches = fetches_a_tar(inputs["images_a_tar"], inputs["shard_size"])
    for name, rate in _rates(inputs):
        hours = inputs["images"] / rate / inputs["workers"] / 3600
        network = rate * inputs["image_bytes"] / 1e6
        yield (
            f"  {name:22} {rate:7,.0f} images/s a worker {hours:6,.1f} h"
            f" {network:6,.0f} MB/s of objects, {network * fetches:5,.0f} of tars"
        )


def _cell(vcpus: int, gpu: float, inputs: Inputs, get_s: float = 0.0) -> str:
    rate = worker_rate(vcpus, gpu, inputs, get_s)
    return f" {rate:7,.0f} {rate / worker_limit(vcpus, gpu, inputs, get_s):5.0%}"


def _rates(inputs: Inputs) -> Iterator[tuple[str, float]]:
    decode, vcpus = inputs["decode"], inputs["worker_vcpus"]
    for name in ("infer_float32", "infer_int8"):
        yield f"CPU, {name.removeprefix('infer_')}", vcpus / (1 / decode + 1 / inputs[name])
    for gpu in inputs["gpu"]:
        yield f"GPU of {gpu:,} images/s", worker_rate(vcpus, gpu, inputs)


def _preemption(inputs: Inputs) -> Iterator[str]:
    an_hour = inputs["preemptions"]
    yield "\nPreemption: a shard is done again whole    a shard takes    redone  simulated"
    for name, rate in _rates(inputs):
        bundles = inputs["worker_vcpus"] if name.startswith("CPU") else inputs["bundles"]
        seconds = inputs["shard_size"] * bundles / rate
        waste, played = preemption_waste(seconds, an_hour), simulated_waste(seconds, an_hour)
        yield f"  {name:22}, {bundles:2} at once {seconds:17,.0f} s {waste:9.3%} {played:10.3%}"
    restart = an_hour * inputs["restart_s"] / 3600
    yield f"  Waiting for the next worker costs another {restart:.3%}."


@click.command()
@click.option(
    "--inputs", "path", type=click.Path(path_type=Path), default=INPUTS, help="JSON file."
)
@click.option("--set", "changes", multiple=True, metavar="NAME=VALUE", help="Change one input.")
def main(path: Path, changes: tuple[str, ...]) -> None:
    """Prints what a billion images need."""
    for line in report(*read_inputs(path, changes)):
        click.echo(line)


if __name__ == "__main__":
    main(prog_name="python -m deploy.simulate")
