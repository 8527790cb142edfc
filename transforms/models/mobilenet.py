"""MobileNet v1 (Howard et al. 2017, https://arxiv.org/abs/1704.04861) built from Keras layers."""

import math
from typing import NamedTuple

import keras
from keras import layers


class Block(NamedTuple):
    """One depthwise-separable block, its filters at alpha 1."""

    filters: int
    stride: int


# Table 1 of the paper. Its last depthwise row prints stride 2, but keeps 7 x 7: the stride is 1.
STEM = Block(filters=32, stride=2)
BLOCKS = (
    Block(filters=64, stride=1),
    Block(filters=128, stride=2),
    Block(filters=128, stride=1),
    Block(filters=256, stride=2),
    Block(filters=256, stride=1),
    Block(filters=512, stride=2),
    Block(filters=512, stride=1),
    Block(filters=512, stride=1),
    Block(filters=512, stride=1),
    Block(filters=512, stride=1),
    Block(filters=512, stride=1),
    Block(filters=1024, stride=2),
    Block(filters=1024, stride=1),
)
MIN_IMAGE_SIZE = STEM.stride * math.prod(block.stride for block in BLOCKS)


def mobilenet_v1(
    *,
    alpha: float = 1.0,
    depth_multiplier: int = 1,
    dropout: float = 1e-3,
    classes: int = 1000,
    image_size: int = 224,
    name: str | None = None,
) -> keras.Model:
    """Builds MobileNet v1 with random weights.

    The layers are named and ordered as in the published weight files: `load_weights` reads those.

    Args:
        alpha: Width multiplier: the share of the paper's filters in every layer.
        depth_multiplier: Depthwise filters for each input channel; 1 in the paper.
        dropout: Share of the pooled features dropped in training.
        classes: Number of classes.
        image_size: Height and width of the input in pixels.
        name: Name of the model; by default it tells alpha and image size.

    Returns:
        A model from `[n, image_size, image_size, 3]` float32 RGB, -1..1 (x / 127.5 - 1), to
        `[n, classes]` float32 probabilities.

    Raises:
        ValueError: An argument is out of its range.
    """
    _check_arguments(alpha, depth_multiplier, dropout, classes, image_size)
    image = keras.Input((image_size, image_size, 3), name="input_layer")
    x = layers.Conv2D(
        _width(STEM, alpha), 3, STEM.stride, padding="same", use_bias=False, name="conv1"
    )(image)
    x = _normalise(x, "conv1")
    for number, block in enumerate(BLOCKS, start=1):
        x = _separable_convolution(x, block, number, alpha, depth_multiplier)
    x = layers.GlobalAveragePooling2D(keepdims=True, name="global_average_pooling2d")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Conv2D(classes, 1, name="conv_preds")(x)
    x = layers.Reshape((classes,), name="reshape_2")(x)
    x = layers.Activation("softmax", name="predictions")(x)
    return keras.Model(image, x, name=name or f"mobilenet_v1_{alpha:g}_{image_size}")


def _separable_convolution(
    x: keras.KerasTensor, block: Block, number: int, alpha: float, depth_multiplier: int
) -> keras.KerasTensor:
    """Filters each channel by itself (3x3), then mixes the channels (1x1)."""
    depthwise, pointwise = f"conv_dw_{number}", f"conv_pw_{number}"
    padding = "same"
    if block.stride > 1:
        # The published weights were trained with the padding below and right, whatever the size;
        # "same" would split it between both sides where the size is odd.
        x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{number}")(x)
        padding = "valid"
    x = layers.DepthwiseConv2D(
        3, block.stride, padding, depth_multiplier, use_bias=False, name=depthwise
    )(x)
    x = _normalise(x, depthwise)
    x = layers.Conv2D(_width(block, alpha), 1, use_bias=False, name=pointwise)(x)
    return _normalise(x, pointwise)


def _normalise(x: keras.KerasTensor, convolution: str) -> keras.KerasTensor:
    """Follows a convolution by batch normalisation and ReLU6."""
    x = layers.BatchNormalization(name=f"{convolution}_bn")(x)
    return layers.ReLU(6.0, name=f"{convolution}_relu")(x)


def _width(block: Block, alpha: float) -> int:
    """Returns the filters of a block that are left at this width, rounded down."""
    return int(block.filters * alpha)


def _check_arguments(
    alpha: float, depth_multiplier: int, dropout: float, classes: int, image_size: int
) -> None:
    """Raises a ValueError for the first argument out of its range."""
    if not 1 / STEM.filters <= alpha < math.inf:
        raise ValueError(
            f"alpha is {alpha}, but every layer needs a filter: "
            f"give a number of at least {1 / STEM.filters}, usually 0.25, 0.5, 0.75 or 1.0"
        )
    if depth_multiplier < 1:
        raise ValueError(
            f"depth_multiplier is {depth_multiplier}, but every channel needs a depthwise filter: "
            "give 1, as in the paper, or more"
        )
    if not 0 <= dropout < 1:
        raise ValueError(
            f"dropout is {dropout}, but must leave some features: give 0 or more and less than 1"
        )
    if classes < 1:
        raise ValueError(f"classes is {classes}, but a model needs a class: give 1 or more")
    if image_size < MIN_IMAGE_SIZE:
        raise ValueError(
            f"image_size is {image_size}, but the strides divide it by {MIN_IMAGE_SIZE}: "
            f"give {MIN_IMAGE_SIZE} or more, usually 128, 160, 192 or 224"
        )
