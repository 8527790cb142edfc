"""What runs the network: LiteRT on a CPU, TensorFlow on a GPU."""

import os
from pathlib import Path
from typing import Literal, NamedTuple

from transforms.choices import EngineName
from transforms.engines.base import Engine, best_first

__all__ = [
    "Engine",
    "EngineSetup",
    "Resolved",
    "best_first",
    "gpu_is_visible",
    "load_engine",
    "resolve_engine",
]

Resolved = Literal["tensorflow", "litert"]


class EngineSetup(NamedTuple):
    """What an engine is loaded from."""

    engine: Resolved
    network: str  # a path here: a .tflite file for LiteRT, a SavedModel folder for TensorFlow
    image_size: int  # side of an image in pixels
    top_k: int
    batch_size: int  # of the largest batch it will be given
    threads: int  # CPU cores it may use


def resolve_engine(name: EngineName, precision: str, has_gpu: bool | None = None) -> Resolved:
    """`auto` by whether there is a GPU, here where `has_gpu` does not say: TensorFlow, else LiteRT.

    Raises:
        ValueError: the engine cannot compute in that precision.
    """
    if name == "auto":
        has_gpu = gpu_is_visible() if has_gpu is None else has_gpu
        name = "tensorflow" if has_gpu and precision != "int8" else "litert"
        if precision in ("float16", "bfloat16"):
            name = "tensorflow"
    if name == "litert" and precision in ("float16", "bfloat16"):
        raise ValueError(f"--precision {precision} needs --engine tensorflow, not litert")
    if name == "tensorflow" and precision == "int8":
        raise ValueError("--precision int8 needs --engine litert, not tensorflow")
    return name


def gpu_is_visible() -> bool:
    """Whether this process may use an NVIDIA GPU, told without the seconds of importing TensorFlow.

    CUDA uses the devices that CUDA_VISIBLE_DEVICES lists, up to the first that is none.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip() in ("", "-1"):
        return False
    return Path("/proc/driver/nvidia/gpus").is_dir() or Path("/dev/nvidia0").exists()


def load_engine(setup: EngineSetup) -> Engine:
    """The engine that `setup` asks for, ready to classify."""
    if setup.engine == "litert":
        from transforms.engines.litert_engine import LiteRTEngine

        return LiteRTEngine(setup.network, setup.top_k, setup.threads)
    from transforms.engines.tensorflow_engine import TensorFlowEngine

    return TensorFlowEngine(setup.network, setup.image_size, setup.top_k, setup.batch_size)
