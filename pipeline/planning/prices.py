"""Prices and assumptions of the plan: `prices.json`, read into records."""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.dataflow.gpus import Gpu
from pipeline.options import UsageError

PRICES_FILE: Final = Path(__file__).with_name("prices.json")


class Worker(NamedTuple):
    """A worker machine as it is paid for."""

    machine: str
    vcpus: int
    memory_gb: float
    disk_gb: float
    gpu: str | None = None
    gpus: int = 0

    @property
    def name(self) -> str:
        """Such as `n1-standard-8 + nvidia-tesla-t4`."""
        if self.gpu is None:
            return self.machine
        return f"{self.machine} + {self.gpu}" + (f" x {self.gpus}" if self.gpus > 1 else "")


class Prices:
    """What `prices.json` says."""

    def __init__(self, path: Path = PRICES_FILE) -> None:
        """Reads the file."""
        self.table: dict[str, Any] = json.loads(path.read_text())

    def assumed(self, name: str) -> Any:
        """The value of an assumption."""
        return self.table["assumptions"][name]["value"]

    def assumptions(self) -> dict[str, str]:
        """Why each assumption is made, by name."""
        found = self.table["assumptions"].items()
        return {name: each["why"] for name, each in found if name != "note"}

    def worker_hour(self, worker: Worker) -> float:
        """Dollars for an hour of one worker."""
        dataflow = self.table["dataflow"]
        dollars = (
            worker.vcpus * dataflow["vcpu_hour"]
            + worker.memory_gb * dataflow["memory_gb_hour"]
            + worker.disk_gb * dataflow["disk_gb_hour"]
        )
        if worker.gpu is not None:
            dollars += worker.gpus * dataflow["gpu_hour"][worker.gpu]
        return float(dollars)

    def cpu_worker(self, machine: str | None = None, disk_gb: float | None = None) -> Worker:
        """A worker without a GPU: the one compared by default, or one of the user's choice."""
        default = self.table["workers"]["cpu"]
        return self._worker(machine or default["machine"], disk_gb or default["disk_gb"])

    def gpu_worker(
        self, gpu: Gpu, machine: str | None = None, disk_gb: float | None = None
    ) -> Worker:
        """A worker with these GPUs, on the machine that a job would get for them.

        Raises:
            UsageError: the file has no price for it.
        """
        priced = self.table["dataflow"]["gpu_hour"]
        if gpu.type not in priced:
            raise UsageError(
                f"--gpu {gpu.type} has no price; {PRICES_FILE.name} has {', '.join(priced)}: "
                f"add it there to plan with it"
            )
        default = self.table["workers"]["gpu"]
        worker = self._worker(machine or gpu.machine_type, disk_gb or default["disk_gb"])
        return worker._replace(gpu=gpu.type, gpus=gpu.number)

    def _worker(self, machine: str, disk_gb: float) -> Worker:
        named = self.table["machines"]["named"]
        if machine in named:
            return Worker(machine, named[machine]["vcpus"], named[machine]["memory_gb"], disk_gb)
        series, _, vcpus = machine.rpartition("-")
        memory = self.table["machines"]["memory_gb_a_vcpu"]
        if series not in memory or not vcpus.isdecimal():
            raise UsageError(
                f"--machine_type {machine!r} is unknown to the plan; "
                f"{PRICES_FILE.name} has {', '.join(memory)}: add its series there to plan with it"
            )
        return Worker(machine, int(vcpus), int(vcpus) * memory[series], disk_gb)
