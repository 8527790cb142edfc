"""What runs the network: LiteRT on a CPU, TensorFlow on a GPU."""

from functools import cache
from pathlib import Path
from typing import Literal

from transforms.choices import EngineName
from transforms.engines.base import Engine, best_first
from transforms.models.artifact import Artifact
from transforms.models.publish import fetched_network

__all__ = ["Engine", "best_first", "gpu_is_visible", "load_engine", "resolve_engine"]


def resolve_engine(name: EngineName, precision: str) -> Literal["tensorflow", "litert"]:
    """`auto` by what this machine has: TensorFlow for a visible GPU, LiteRT for a CPU.

    Raises:
        ValueError: the engine cannot compute in that precision.
    """
    if name == "auto":
        name = "tensorflow" if gpu_is_visible() and precision != "int8" else "litert"
        if precision in ("float16", "bfloat16"):
            name = "tensorflow"
    if name == "litert" and precision in ("float16", "bfloat16"):
        raise ValueError(f"--precision {precision} needs --engine tensorflow, not litert")
    if name == "tensorflow" and precision == "int8":
        raise ValueError("--precision int8 needs --engine litert, not tensorflow")
    return name


@cache
def gpu_is_visible() -> bool:
    """Whether an NVIDIA GPU is here, told without the seconds of importing TensorFlow."""
    return Path("/proc/driver/nvidia/gpus").is_dir() or Path("/dev/nvidia0").exists()


def load_engine(artifact: Artifact, top_k: int, batch_size: int, threads: int) -> Engine:
    """The engine the artifact was built for, ready to classify.

    `batch_size` is the largest batch it will be given; `threads` the CPU cores it may use.
    """
    network = fetched_network(artifact.network)
    if artifact.engine == "litert":
        from transforms.engines.litert_engine import LiteRTEngine

        return LiteRTEngine(network, top_k, threads)
    from transforms.engines.tensorflow_engine import TensorFlowEngine

    return TensorFlowEngine(network, artifact.image_size, top_k, batch_size)
