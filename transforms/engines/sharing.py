"""One engine for all threads of a process, or for all processes that share a GPU.

With LiteRT every process has an engine of its own: that takes it 46 MB (EfficientNet-Lite0, one
lane), while sending a batch of 32 images to another process takes 23 ms at best, a tenth of what
a core needs to classify them. TensorFlow takes a gigabyte a process, and a GPU's memory: where
there are several processes or several GPUs, each GPU belongs to a process that all others ask.

Beam's `ModelHandler.share_model_across_processes` would load every copy in one and the same
process, where only one set of devices can be visible.
"""

import logging
import os
import re
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from apache_beam.utils.multi_process_shared import MultiProcessShared
from numpy.typing import NDArray

from transforms.engines import EngineSetup, load_engine
from transforms.engines.base import Engine
from transforms.records import Pixels

_GPU_FILE = re.compile(r"nvidia\d+")


class SharedEngine:
    """An engine, and the fact that it was loaded."""

    def __init__(self, engine: Engine) -> None:
        """`engine` has just been loaded."""
        self._engine = engine
        self._lock = threading.Lock()
        self._loads = 1

    def top_k(self, images: Sequence[Pixels]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """See `Engine.top_k`."""
        return self._engine.top_k(images)

    def take_loads(self) -> int:
        """How many engines were loaded that nobody has counted yet."""
        with self._lock:
            loads, self._loads = self._loads, 0
            return loads


class OwnedEngines:
    """Engines in processes of their own, one a GPU; a batch goes to one that is idle."""

    def __init__(self, owners: Sequence[Any]) -> None:
        """`owners` are proxies of `SharedEngine`s."""
        self._lock = threading.Lock()
        self._loads = sum(owner.take_loads() for owner in owners)
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for owner in owners:
            self._idle.put(owner)

    def top_k(self, images: Sequence[Pixels]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """See `Engine.top_k`."""
        owner = self._idle.get()
        try:
            return owner.top_k(np.stack(images))  # one array is cheaper to send than many
        finally:
            self._idle.put(owner)

    def take_loads(self) -> int:
        """See `SharedEngine.take_loads`."""
        with self._lock:
            loads, self._loads = self._loads, 0
            return loads


def shared_engine(setup: EngineSetup, siblings: bool, tag: str) -> SharedEngine | OwnedEngines:
    """The engine for this process, with whatever is here.

    `siblings` says that the runner starts several processes on a machine; `tag` is one for all
    processes of a run, and no other run's.
    """
    gpus: Sequence[str | None] = visible_gpus() if setup.engine == "tensorflow" else ()
    if setup.engine == "litert" or (len(gpus) < 2 and not siblings):
        return SharedEngine(load_engine(setup))
    load = partial(_load_on, setup)
    owners = [
        MultiProcessShared(
            partial(load, gpu), tag=f"{tag}-{gpu}", always_proxy=True, spawn_process=True
        )
        for gpu in gpus or [None]
    ]
    return OwnedEngines([owner.acquire() for owner in owners])


def visible_gpus() -> list[str]:
    """NVIDIA's numbers of the GPUs that this process may use."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [number for number in chosen.split(",") if number not in ("", "-1")]
    found = [path for path in Path("/dev").glob("nvidia*") if _GPU_FILE.fullmatch(path.name)]
    return [path.name.removeprefix("nvidia") for path in sorted(found)]


def _load_on(setup: EngineSetup, gpu: str | None) -> SharedEngine:
    """Runs in the process that owns the GPU, before TensorFlow looks for devices."""
    logging.disable()  # Beam's server tells standard error of its comings and goings
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    return SharedEngine(load_engine(setup))
