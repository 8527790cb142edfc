"""EfficientNet-Lite0 built from Keras layers, its weights in the package: works offline.

A descendant of MobileNet v2 by way of EfficientNet (Tan and Le 2019,
https://arxiv.org/abs/1905.11946), without squeeze-and-excitation and with ReLU6 for swish.
"""

from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

PACKAGED_WEIGHTS = Path(__file__).parent / "data" / "efficientnet_lite0.npz"
SCALE = "_scale"  # ends the name of the array that a kernel of int16 is multiplied by


class Stage(NamedTuple):
    """Inverted residual blocks in a row; only the first has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    filters: int


# _DEFAULT_BLOCKS_ARGS of Tan and Le's efficientnet_lite_builder.py
# (https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite),
# its stem and its head with their widths from efficientnet_model.py.
STAGES = (
    Stage(blocks=1, kernel=3, stride=1, expansion=1, filters=16),
    Stage(blocks=2, kernel=3, stride=2, expansion=6, filters=24),
    Stage(blocks=2, kernel=5, stride=2, expansion=6, filters=40),
    Stage(blocks=3, kernel=3, stride=2, expansion=6, filters=80),
    Stage(blocks=3, kernel=5, stride=1, expansion=6, filters=112),
    Stage(blocks=4, kernel=5, stride=2, expansion=6, filters=192),
    Stage(blocks=1, kernel=3, stride=1, expansion=6, filters=320),
)
STEM_FILTERS = 32
HEAD_FILTERS = 1280
IMAGE_SIZE = 224
BATCH_NORM_MOMENTUM = 0.99
BATCH_NORM_EPSILON = 1e-3


def efficientnet_lite0(
    classes: int = 1000, dropout: float = 0.2, name: str = "efficientnet_lite0"
) -> keras.Model:
    """EfficientNet-Lite0 with random weights.

    Its authors also drop whole blocks in training (stochastic depth); this network does not.

    Args:
        classes: Number of classes; the packaged weights have 1000.
        dropout: Share of the pooled features dropped in training.
        name: Name of the model.

    Returns:
        A model from `[n, 224, 224, 3]` float32 RGB, (x - 127) / 128, to `[n, classes]` float32
        probabilities; its layer `logits` gives them before the softmax.
    """
    image = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="image")
    x = layers.Conv2D(STEM_FILTERS, 3, strides=2, padding="same", use_bias=False, name="stem_conv")(
        image
    )
    x = _relu6(_normalise(x, "stem"), "stem")
    block = 0
    for stage in STAGES:
        for repeat in range(stage.blocks):
            stride = stage.stride if repeat == 0 else 1
            x = _inverted_residual(x, stage, stride, f"block{block}")
            block += 1
    x = layers.Conv2D(HEAD_FILTERS, 1, use_bias=False, name="head_conv")(x)
    x = _relu6(_normalise(x, "head"), "head")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(classes, name="logits")(x)
    return keras.Model(image, layers.Softmax(name="predictions")(x), name=name)


def load_packaged_weights(model: keras.Model) -> None:
    """Fills the network with the packaged ImageNet weights, whose kernels are stored in 16 bits.

    Raises:
        ValueError: The weights are not this network's; nothing was filled. Names the first layer
            that differs.
    """
    packaged = _packaged_arrays()
    variables = {
        f"{layer.name}/{variable.name}": variable
        for layer in model.layers
        for variable in layer.weights
    }
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    packaged_shapes = {name: values.shape for name, values in packaged.items()}
    for name in (*shapes, *packaged_shapes):
        if shapes.get(name) != packaged_shapes.get(name):
            layer, variable = name.split("/")
            raise ValueError(
                f"layer {layer!r} has a {variable} of shape {shapes.get(name)} in this network but "
                f"{packaged_shapes.get(name)} in {PACKAGED_WEIGHTS.name}: build the network with "
                "efficientnet_lite0(classes=1000)"
            )
    for name, variable in variables.items():
        variable.assign(packaged[name])


def _packaged_arrays() -> dict[str, NDArray[np.float32]]:
    """Float32 arrays by `layer/variable`: int16 kernels times the scale of each output channel."""
    with np.load(PACKAGED_WEIGHTS) as file:
        stored = dict(file)
    return {
        name: values * stored[name + SCALE] if name + SCALE in stored else values
        for name, values in stored.items()
        if not name.endswith(SCALE)
    }


def _inverted_residual(
    x: keras.KerasTensor, stage: Stage, stride: int, name: str
) -> keras.KerasTensor:
    """Widen (1x1), filter each channel by itself, narrow (1x1) without ReLU6, add the input."""
    shortcut, channels = x, x.shape[-1]
    if stage.expansion > 1:
        expand = f"{name}_expand"
        x = layers.Conv2D(channels * stage.expansion, 1, use_bias=False, name=f"{expand}_conv")(x)
        x = _relu6(_normalise(x, expand), expand)
    depthwise = f"{name}_depthwise"
    x = layers.DepthwiseConv2D(
        stage.kernel, stride, padding="same", use_bias=False, name=f"{depthwise}_conv"
    )(x)
    x = _relu6(_normalise(x, depthwise), depthwise)
    project = f"{name}_project"
    x = layers.Conv2D(stage.filters, 1, use_bias=False, name=f"{project}_conv")(x)
    x = _normalise(x, project)
    if stride == 1 and channels == stage.filters:
        x = layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def _normalise(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(
        momentum=BATCH_NORM_MOMENTUM, epsilon=BATCH_NORM_EPSILON, name=f"{name}_bn"
    )(x)


def _relu6(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.ReLU(6.0, name=f"{name}_relu")(x)
