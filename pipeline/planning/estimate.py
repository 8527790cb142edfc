"""The arithmetic of a plan: speed, workers, hours and dollars, each as one formula."""

import math
from typing import Literal, NamedTuple

from pipeline.dataflow.options import BUNDLES_AT_ONCE
from pipeline.options import UsageError
from pipeline.planning.measure_rates import Rates
from pipeline.planning.prices import Prices, Worker
from transforms.read_images import THREADS

# The URIs go through `Group` and `Spread`; with sizes, dates and keys each takes some more bytes.
_SHUFFLES = 2
_SHUFFLED_BYTES_A_RECORD = 32
_LISTED_A_REQUEST = 1000
_SECONDS = 3600.0

Bound = Literal["CPU", "decoding", "GPU", "reading"]

FORMULAS = {
    "CPU": "images/s = efficiency x vCPUs / (1 / decode + 1 / infer)",
    "GPU": "images/s = efficiency x min(vCPUs x decode, GPUs x infer on the GPU)",
    "reading": f"images/s <= GETs in flight / seconds a GET / GETs an image; in flight are "
    f"{THREADS} here and {BUNDLES_AT_ONCE * THREADS} on a worker or for each of its GPUs",
    "workers": "workers = images / (images/s x (deadline - start)), rounded up",
    "hours": "hours = start + images / (workers x images/s)",
    "total": "$ total = workers x hours x $/worker-hour + GETs + listing and uploads + shuffle",
    "million": "$/million = the same without start, for a million images",
}


class Speed(NamedTuple):
    """Images/s of one machine, and what keeps it from more."""

    images_per_second: float
    bound: Bound


class Requests(NamedTuple):
    """Requests to Cloud Storage, by the class they are priced in."""

    gets: int  # class B
    listings: int  # class A
    uploads: int  # class A


class Estimate(NamedTuple):
    """One kind of worker, enough of them for the deadline or as many as the user said."""

    worker: Worker
    speed: Speed
    is_infer_measured: bool
    workers: int
    hours: float
    dollars_per_million: float
    dollars: float


def local_speed(rates: Rates, cores: int, prices: Prices, gets_an_image: float = 1.0) -> Speed:
    """All cores of this machine, reading as fast as the sample was read.

    `gets_an_image` is a run's share of the GETs that an image of the sample took.
    """
    if rates.infer_gpu is not None:
        speed = _gpu_speed(cores * rates.decode, rates.infer_gpu)
    else:
        assert rates.infer_core is not None
        speed = _cpu_speed(cores, rates.decode, rates.infer_core)
    return _limited(speed, prices, 1, rates.read_seconds * gets_an_image)


def worker_speed(
    worker: Worker, rates: Rates, prices: Prices, gets_an_image: float = 1.0
) -> Speed | None:
    """A worker by the rates of this machine's cores; None where its inference is not known."""
    ratio = prices.assumed("vcpu_to_core")
    seconds = prices.assumed("get_seconds") * gets_an_image
    decode = rates.decode * ratio
    if worker.gpu is not None:
        infer = worker.gpus * gpu_rate(worker.gpu, rates, prices)
        speed = _gpu_speed(worker.vcpus * decode, infer)
        return _limited(speed, prices, BUNDLES_AT_ONCE * worker.gpus, seconds)
    if rates.infer_core is None:
        return None
    speed = _cpu_speed(worker.vcpus, decode, rates.infer_core * ratio)
    return _limited(speed, prices, BUNDLES_AT_ONCE, seconds)


def gpu_rate(gpu: str, rates: Rates, prices: Prices) -> float:
    """Images/s of one GPU: as measured if this machine has one, else as assumed."""
    return rates.infer_gpu or float(prices.assumed("gpu_images_per_second")[gpu])


def requests_for(gets: int, objects: int, shards: int) -> Requests:
    """Listings are of `objects`: the check and the run both go through them."""
    return Requests(gets, 2 * math.ceil(objects / _LISTED_A_REQUEST), shards)


def shuffled_gb(images: int, uri_bytes: float) -> float:
    """Gigabytes through the shuffle, by the mean length of a URI: no pixels among them."""
    return _SHUFFLES * images * (uri_bytes + _SHUFFLED_BYTES_A_RECORD) / 1e9


def estimate(
    worker: Worker,
    speed: Speed,
    rates: Rates,
    images: int,
    requests: Requests,
    shuffle_gb: float,
    deadline_hours: float,
    workers: int | None,
    prices: Prices,
) -> Estimate:
    """Hours and dollars of `images` on `workers`, or on as many as the deadline needs.

    Raises:
        UsageError: the deadline is over before the first worker has started.
    """
    start = prices.assumed("startup_hours")
    if workers is None:
        workers = workers_for(images, speed, deadline_hours, start)
    working = images / (speed.images_per_second * _SECONDS)  # worker-hours
    hours = start + working / workers
    hourly = prices.worker_hour(worker)
    around = (
        _request_dollars(requests, prices) + shuffle_gb * prices.table["dataflow"]["shuffle_gb"]
    )
    return Estimate(
        worker,
        speed,
        worker.gpu is None or rates.infer_gpu is not None,
        workers,
        hours,
        (working * hourly + around) * 1_000_000 / images,
        workers * hours * hourly + around,
    )


def workers_for(images: int, speed: Speed, deadline_hours: float, start: float) -> int:
    """Workers that are done within the deadline."""
    if deadline_hours <= start:
        raise UsageError(
            f"--deadline-hours {deadline_hours:g} is over before a worker has started, which "
            f"takes about {start:g} h: give more"
        )
    seconds = (deadline_hours - start) * _SECONDS
    return max(1, math.ceil(images / (speed.images_per_second * seconds)))


def _request_dollars(requests: Requests, prices: Prices) -> float:
    storage = prices.table["storage"]
    return (
        float(
            requests.gets * storage["class_b_per_thousand"]
            + (requests.listings + requests.uploads) * storage["class_a_per_thousand"]
        )
        / 1000
    )


def _cpu_speed(cores: float, decode: float, infer: float) -> Speed:
    return Speed(cores / (1 / decode + 1 / infer), "CPU")


def _gpu_speed(decode: float, infer: float) -> Speed:
    return Speed(decode, "decoding") if decode < infer else Speed(infer, "GPU")


def _limited(speed: Speed, prices: Prices, bundles: int, read_seconds: float) -> Speed:
    whole = speed._replace(images_per_second=speed.images_per_second * prices.assumed("efficiency"))
    reading = bundles * THREADS / read_seconds
    return Speed(reading, "reading") if reading < whole.images_per_second else whole
