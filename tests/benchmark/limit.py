"""The limit of the machine: one core's decoding and inference rates, measured alone."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from transforms.cores import available_cores
from transforms.decode_images import Preprocessing, decode_image
from transforms.engines.litert_engine import LiteRTEngine

_SAMPLE = 100  # images; a rate is stable after a second


class Limit(NamedTuple):
    """Images/s: of one core decoding, of one core inferring, and of all cores doing both."""

    decode: float
    infer: float
    whole: float


def measure_limit(images: Path, network: str, image_size: int) -> Limit:
    """cores / (1/decode + 1/infer), for the first hundred images."""
    preprocessing = Preprocessing(image_size, "crop", 10**9)
    contents = [path.read_bytes() for path in sorted(images.iterdir())[:_SAMPLE]]
    pixels = [decode_image(content, preprocessing).pixels for content in contents]
    engine = LiteRTEngine(network, top_k=5, threads=1)
    engine.top_k(pixels[:5])
    decode = _rate(lambda content: decode_image(content, preprocessing), contents)
    infer = _rate(lambda image: engine.top_k([image]), pixels)
    return Limit(decode, infer, available_cores() / (1 / decode + 1 / infer))


def _rate(function: Callable[..., object], items: Sequence[object]) -> float:
    started = time.monotonic()
    for item in items:
        function(item)
    return len(items) / (time.monotonic() - started)
