"""`prices.json`: what machines and requests cost, and what the plan assumes."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.dataflow.gpus import Gpu
from pipeline.dataflow.options import boot_disk_gb
from pipeline.options import UsageError

PRICES_FILE: Final = Path(__file__).with_name("prices.json")


class Worker(NamedTuple):
    """A kind of worker machine."""

    machine_type: str
    vcpus: int
    gpu: Gpu | None
    dollars_an_hour: float

    @property
    def name(self) -> str:
        """Such as `n1-standard-8 + nvidia-tesla-t4`."""
        if self.gpu is None:
            return self.machine_type
        number = f" x {self.gpu.number}" if self.gpu.number > 1 else ""
        return f"{self.machine_type} + {self.gpu.type}{number}"


@cache
def prices() -> dict[str, Any]:
    """What `prices.json` says."""
    return json.loads(PRICES_FILE.read_text())


def assumed(name: str) -> Any:
    """The value of an assumption."""
    return prices()["assumptions"][name]["value"]


def workers_to_compare(
    gpu: Gpu | None = None, machine_type: str | None = None, disk_gb: int | None = None
) -> list[Worker]:
    """The kind of worker that these options of a job ask for; without any, the usual ones.

    Raises:
        UsageError: `prices.json` does not know the machine, or has no price for the GPU.
    """
    if gpu is not None:
        return [_worker(machine_type or gpu.machine_type, gpu, disk_gb)]
    if machine_type is not None:
        return [_worker(machine_type, None, disk_gb)]
    usual = prices()["compared"]
    gpus = [Gpu(name, 1) for name in usual["gpus"]]
    with_gpu = [_worker(each.machine_type, each, disk_gb) for each in gpus]
    return [_worker(usual["machine_type"], None, disk_gb), *with_gpu]


def _worker(machine_type: str, gpu: Gpu | None, disk_gb: int | None) -> Worker:
    price = prices()["dataflow"]
    dollars = (disk_gb or boot_disk_gb(gpu)) * price["disk_gb_hour"]
    if gpu is not None:
        priced = price["gpu_hour"]
        if gpu.type not in priced:
            raise UsageError(
                f"--gpu {gpu.type} has no price; {PRICES_FILE.name} has {', '.join(priced)}: "
                f"add it there to plan with it"
            )
        dollars += gpu.number * priced[gpu.type]
    vcpus, memory_gb = _size(machine_type)
    dollars += vcpus * price["vcpu_hour"] + memory_gb * price["memory_gb_hour"]
    return Worker(machine_type, vcpus, gpu, dollars)


def _size(machine_type: str) -> tuple[int, float]:
    """vCPUs, and gigabytes of memory."""
    sizes, memory_of = prices()["machines"]["sizes"], prices()["machines"]["memory_gb_a_vcpu"]
    series, _, vcpus = machine_type.rpartition("-")
    if machine_type in sizes:
        return tuple(sizes[machine_type])
    if series in memory_of and vcpus.isdecimal():
        return int(vcpus), int(vcpus) * memory_of[series]
    raise UsageError(
        f"--machine_type {machine_type!r} is unknown to the plan; "
        f"{PRICES_FILE.name} has {', '.join(memory_of)}: add its series there to plan with it"
    )
