"""A worker with a GPU, played image by image: how fast it is beside what limits it."""

import heapq
import math
from collections import deque
from typing import Any

import numpy as np

Inputs = dict[str, Any]  # values by name, as in billion.json


class _Bundle:
    """What a bundle has under way: when each image is read, and decoded, in order."""

    def __init__(self, readers: int) -> None:
        self.readers = [0.0] * readers
        self.read: deque[float] = deque()
        self.decoded: deque[float] = deque()
        self.batch = 0


def worker_rate(
    vcpus: int, gpu: float, inputs: Inputs, get_s: float = 0.0, images: int = 60_000, seed: int = 0
) -> float:
    """Images/s of a worker whose vCPUs decode for one GPU, as the fused stage really goes.

    Each bundle reads on threads of its own and decodes on the vCPUs that all share, each at most
    `ahead` images ahead; while it waits for one image or for the GPU it hands on nothing. The GPU
    takes one batch at a time. A GET takes an exponentially distributed time, decoding a
    gamma-distributed one. The first fifth of the images is not counted.
    """
    rng = np.random.default_rng(seed)
    shape, ahead, size = inputs["decode_spread"] ** -2, inputs["ahead"], inputs["batch_size"]
    bundles = [_Bundle(inputs["readers"]) for _ in range(inputs["bundles"])]
    under_way = len(bundles) * (2 * ahead + size)
    gets = iter(rng.exponential(get_s, images + under_way).tolist())
    work = iter(rng.gamma(shape, 1 / inputs["decode"] / shape, images + under_way).tolist())
    cores, clocks = [0.0] * vcpus, [(0.0, index) for index in range(len(bundles))]
    gpu_free, done, counted_from = 0.0, 0, (0.0, 0)
    while done < images:
        clock, index = heapq.heappop(clocks)
        bundle = bundles[index]
        if len(bundle.read) < ahead:
            bundle.read.append(_put_to_work(bundle.readers, clock, next(gets)))
        elif bundle.read[0] > clock:  # first comes what happens elsewhere until then
            clock = bundle.read[0]
        elif len(bundle.decoded) < ahead:
            bundle.read.popleft()
            bundle.decoded.append(_put_to_work(cores, clock, next(work)))
        elif bundle.decoded[0] > clock:
            clock = bundle.decoded[0]
        else:
            bundle.decoded.popleft()
            bundle.batch += 1
        if bundle.batch == size:
            bundle.batch = 0
            gpu_free = clock = max(clock, gpu_free) + size / gpu
            done += size
            if not counted_from[1] and done >= images // 5:
                counted_from = clock, done
        heapq.heappush(clocks, (clock, index))
    return (done - counted_from[1]) / (gpu_free - counted_from[0])


def worker_limit(vcpus: int, gpu: float, inputs: Inputs, get_s: float = 0.0) -> float:
    """Images/s that no worker can exceed: of its decoding, its GPU and its requests."""
    gets = inputs["bundles"] * inputs["readers"] / get_s if get_s else math.inf
    return min(vcpus * inputs["decode"], gpu, gets)


def _put_to_work(free: list[float], clock: float, seconds: float) -> float:
    """When the first thread to be free has done it; `free` is a heap of when each one is."""
    ends = max(clock, free[0]) + seconds
    heapq.heapreplace(free, ends)
    return ends
