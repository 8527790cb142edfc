"""The GPUs that Dataflow workers can have, and the machines they go with."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from pipeline.options import UsageError
from transforms.models.errors import nearest


def _n1(*counts: int) -> dict[int, str]:
    return {count: f"n1-standard-{8 * count}" for count in counts}


def _by_name(family: str, *counts: int) -> dict[int, str]:
    return {count: f"{family}-{count}g" for count in counts}


# Each type with the numbers of it that one machine can have, and a machine type for each number:
# for those that attach to any machine 8 cores a GPU, which decode for it.
# https://cloud.google.com/dataflow/docs/gpu/gpu-support, https://cloud.google.com/compute/docs/gpus
GPUS: Final[dict[str, dict[int, str]]] = {
    "nvidia-tesla-t4": _n1(1, 2, 4),
    "nvidia-l4": {
        1: "g2-standard-16",
        2: "g2-standard-24",
        4: "g2-standard-48",
        8: "g2-standard-96",
    },
    "nvidia-tesla-v100": _n1(1, 2, 4, 8),
    "nvidia-tesla-p100": _n1(1, 2, 4),
    "nvidia-tesla-p4": _n1(1, 2, 4),
    "nvidia-tesla-a100": _by_name("a2-highgpu", 1, 2, 4, 8),
    "nvidia-a100-80gb": _by_name("a2-ultragpu", 1, 2, 4, 8),
    "nvidia-h100-80gb": _by_name("a3-highgpu", 1, 2, 4, 8),
    "nvidia-h100-mega-80gb": _by_name("a3-megagpu", 8),
}


class Gpu(NamedTuple):
    """`--gpu TYPE[:COUNT]`, as one worker has it."""

    type: str
    number: int

    @property
    def machine_type(self) -> str:
        """A worker that has them."""
        return GPUS[self.type][self.number]

    def __str__(self) -> str:
        """As `--gpu` takes it."""
        return self.type if self.number == min(GPUS[self.type]) else f"{self.type}:{self.number}"


def parse_gpu(text: str) -> Gpu:
    """TYPE or TYPE:COUNT.

    Raises:
        UsageError: there is no such type, or no machine with that many.
    """
    name, separator, number = text.partition(":")
    if name not in GPUS:
        likely = [known for known in GPUS if name and name.lower() in known]
        hint = f"; did you mean {likely[0]}?" if likely else nearest(name, GPUS)
        raise UsageError(f"--gpu {text!r}: no such type{hint}; Dataflow has {', '.join(GPUS)}")
    counts = GPUS[name]
    count = int(number) if number.isdecimal() else 0 if separator else min(counts)
    if count not in counts:
        raise UsageError(
            f"--gpu {text!r}: a worker can have {_or(counts)} of {name}, as in {name}:{max(counts)}"
        )
    return Gpu(name, count)


def _or(counts: Sequence[int] | dict[int, str]) -> str:
    *few, last = map(str, counts)
    return f"{', '.join(few)} or {last}" if few else last
