"""The arithmetic of a plan: requests, speed, workers, hours and dollars, each as one formula."""

import math
from typing import Final, Literal, NamedTuple

from pipeline.dataflow.options import bundles_at_once
from pipeline.planning.measure_rates import Rates
from pipeline.planning.prices import Worker, assumed, prices
from pipeline.planning.survey import Survey
from transforms.read_images import THREADS

_LISTED_A_REQUEST: Final = 1000

Bound = Literal["CPU", "decoding", "GPU", "Python", "reading"]


class Requests(NamedTuple):
    """Requests of a run to Cloud Storage."""

    images: int  # GETs of images that are objects of their own
    tars_to_list: int  # GETs; a tar comes whole
    tars_to_read: int  # GETs
    earlier_parts: int  # GETs of files with rows of earlier runs, for --resume
    listings: int
    uploads: int
    gets_an_image: float  # the mean to read one

    @property
    def gets(self) -> int:
        """All of them."""
        return self.images + self.tars_to_list + self.tars_to_read + self.earlier_parts

    @property
    def dollars(self) -> float:
        """What all requests cost."""
        price, others = prices()["storage"], self.listings + self.uploads
        thousands = self.gets * price["class_b_per_thousand"]
        return float(thousands + others * price["class_a_per_thousand"]) / 1000


class Estimate(NamedTuple):
    """A run on so many machines of one kind."""

    machine: str
    images_per_second: float  # of one machine
    bound: Bound  # what keeps it from more
    is_infer_measured: bool
    machines: int
    hours: float
    dollars: float


def requests_for(surveyed: Survey, shard_size: int, earlier_parts: int = 0) -> Requests:
    """The requests of a run; its check and the run itself both list the inputs.

    A tar is fetched once for each shard that has some of it: shards may be on different workers.
    The members of a tar lie side by side in the order that shards are cut from, so that every
    `shard_size`-th pair of neighbours is cut.
    """
    alone, members, tars = surveyed.alone, surveyed.in_tars, surveyed.tars_read
    tars_to_read = round(tars + (members - tars) / shard_size)
    return Requests(
        images=alone,
        tars_to_list=surveyed.tars_listed,
        tars_to_read=tars_to_read,
        earlier_parts=earlier_parts,
        listings=2 * math.ceil(surveyed.objects / _LISTED_A_REQUEST),
        uploads=math.ceil(surveyed.due / shard_size),
        gets_an_image=(alone + tars_to_read) / (alone + members) if alone + members else 1.0,
    )


def here(rates: Rates, cores: int, images: int, requests: Requests) -> Estimate:
    """A run on this machine, which reads as fast as it read the sample."""
    speed, bound = _speed(rates, cores, rates.infer_gpu, 1, rates.get_seconds, requests)
    hours = images / speed / 3600
    return Estimate(f"this machine, {cores} cores", speed, bound, True, 1, hours, requests.dollars)


def on_workers(
    worker: Worker,
    rates: Rates,
    images: int,
    requests: Requests,
    deadline_hours: float,
    workers: int | None,
) -> Estimate | None:
    """A run on `workers`, or on as many as the deadline needs, which is longer than their start.

    By the rates of this machine's cores; None where this kind's inference is not known.
    """
    infer_gpu = None
    if worker.gpu is not None:
        one = rates.infer_gpu or assumed("gpu_images_per_second")[worker.gpu.type]
        infer_gpu = worker.gpu.number * one
    elif rates.infer_core is None:
        return None
    cores, start = worker.vcpus * assumed("vcpu_to_core"), assumed("startup_hours")
    bundles, get_seconds = bundles_at_once(worker.gpu), assumed("get_seconds")
    speed, bound = _speed(rates, cores, infer_gpu, bundles, get_seconds, requests)
    worker_hours = images / speed / 3600
    if workers is None:
        workers = max(1, math.ceil(worker_hours / (deadline_hours - start)))
    return Estimate(
        machine=worker.name,
        images_per_second=speed,
        bound=bound,
        is_infer_measured=worker.gpu is None or rates.infer_gpu is not None,
        machines=workers,
        hours=start + worker_hours / workers,
        dollars=(workers * start + worker_hours) * worker.dollars_an_hour + requests.dollars,
    )


def _speed(
    rates: Rates,
    cores: float,
    infer_gpu: float | None,
    bundles: int,
    get_seconds: float,
    requests: Requests,
) -> tuple[float, Bound]:
    """Images/s of one machine: the least of what reading, Python, cores and GPUs can do."""
    efficiency = assumed("efficiency")
    reading = bundles * THREADS / get_seconds / requests.gets_an_image
    limits: dict[Bound, float] = {"reading": reading, "Python": 1 / assumed("python_seconds")}
    if infer_gpu is not None:
        limits["decoding"] = efficiency * cores * rates.decode
        limits["GPU"] = efficiency * infer_gpu
    else:
        assert rates.infer_core is not None
        limits["CPU"] = efficiency * cores / (1 / rates.decode + 1 / rates.infer_core)
    bound = min(limits, key=lambda each: limits[each])
    return limits[bound], bound
