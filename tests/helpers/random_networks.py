"""Networks with random weights that tell pictures apart, as trained ones do.

Random weights alone answer the same to every picture: deep in the network its features differ by
less than a float32 holds. Then no test of outputs notices what the network is fed.
"""

from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tests.helpers.model_fixtures import PHOTOS
from transforms.decode_images import Preprocessing, decode_image
from transforms.engines import Engine
from transforms.engines.litert_engine import LiteRTEngine
from transforms.engines.tensorflow_engine import TensorFlowEngine
from transforms.models.artifact import NetworkRequest
from transforms.models.build_network import build_network


@cache
def photographs(size: int) -> NDArray[np.uint8]:
    """[12, size, size, 3] uint8: the photographs, cut and resized as a run does, by name."""
    preprocessing = Preprocessing(size, "crop", 10**8)
    paths = sorted(PHOTOS.iterdir())
    pictures = [decode_image(path.read_bytes(), preprocessing).pixels for path in paths]
    return np.stack(pictures)


def randomise(model: Any, inputs: NDArray[np.floating[Any]]) -> None:
    """Random weights by which features and classes vary over `inputs`, as `model` takes them.

    Batch normalisations know the statistics of their features, which are as small as their
    epsilon, and give values below 0 and above 6. Logits have a spread of 2 over the inputs.
    """
    random = np.random.default_rng(20170417)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            channels, layer.momentum = layer.gamma.shape, 0.0
            layer.gamma.assign(random.uniform(1, 3, channels))
            layer.beta.assign(random.normal(1, 2, channels))
            continue
        for weight in layer.weights:
            scale = 0.1 / np.sqrt(np.prod(weight.shape[:-1]))
            weight.assign(random.normal(0, scale, weight.shape))
    model(inputs, training=True)  # without momentum, moving statistics are those of the last batch
    head = [layer for layer in model.layers if layer.weights][-1]
    features = keras.Model(model.input, head.input)(inputs, training=False)
    kernel = np.asarray(head.kernel)
    logits = np.reshape(features, (len(inputs), -1)) @ kernel.reshape(-1, kernel.shape[-1])
    factor = 2 / logits.std(axis=0)
    head.kernel.assign(kernel * factor)
    head.bias.assign(-logits.mean(axis=0) * factor)


def engine_scores(
    request: NetworkRequest, folder: Path, pixels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """The scores [n, classes] that the engine of `request` gives for `pixels`, by class."""
    build_network(request, folder)
    engine: Engine
    if request.engine == "litert":
        engine = LiteRTEngine(str(folder / "network.tflite"), request.classes, threads=2)
    else:
        network, size = str(folder / "saved_model"), pixels.shape[1]
        engine = TensorFlowEngine(network, size, request.classes, batch_size=5)
    classes, scores = engine.top_k(list(pixels))
    assert (np.diff(scores, axis=1) <= 0).all(), "not the best first"
    by_class = np.empty_like(scores)
    np.put_along_axis(by_class, classes, scores, axis=1)
    return by_class
