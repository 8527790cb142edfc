"""Costs read from models, against Keras' own count and TensorFlow's profiler."""

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf
from keras import layers

from pipeline.describe.count_operations import Cost
from pipeline.describe.layer_costs import (
    LayerCost,
    compare_convolutions,
    layer_costs,
    separable_blocks,
)
from transforms.models.efficientnet_lite import efficientnet_lite0
from transforms.models.mobilenet import BLOCKS, mobilenet_v1

applications = keras.applications


def profiled(model: Any) -> int:
    """Mult-adds of the model's graph by TensorFlow's profiler, which counts each as two."""
    signature = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
    graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(signature).graph
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    operations = profiler.profile(graph, cmd="op", options=options).children
    counted = ("Conv2D", "DepthwiseConv2dNative", "MatMul")
    total, rest = 0, list(operations)
    while rest:
        node = rest.pop()
        rest += node.children
        total += node.float_ops if node.name in counted else 0
    return total // 2


@pytest.mark.parametrize(
    "build",
    [
        lambda: mobilenet_v1(alpha=0.25, image_size=128),
        lambda: mobilenet_v1(alpha=0.35, image_size=33, depth_multiplier=2),
        lambda: applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None),
        lambda: applications.MobileNetV3Small((64, 64, 3), weights=None),
        lambda: efficientnet_lite0(),
    ],
    ids=["v1", "v1 odd size, multiplier 2", "v2", "v3", "EfficientNet-Lite0"],
)
def test_parameters_are_those_of_keras_and_mult_adds_those_of_the_profiler(
    build: Callable[[], Any],
) -> None:
    model = build()
    costs = layer_costs(model)
    assert [cost.name for cost in costs] == [layer.name for layer in model.layers]
    assert sum(cost.parameters for cost in costs) == model.count_params()
    assert sum(cost.cost.mult_adds for cost in costs) == profiled(model)


def test_a_layer_has_its_kind_its_output_and_its_costs() -> None:
    costs = {cost.name: cost for cost in layer_costs(mobilenet_v1())}
    assert costs["conv1"] == LayerCost("conv1", "Conv2D", (112, 112, 32), 864, 10_838_016)
    assert costs["conv_dw_12"] == LayerCost(
        "conv_dw_12", "DepthwiseConv2D", (7, 7, 512), 4608, 225_792
    )
    assert costs["conv_pw_13_bn"] == LayerCost(
        "conv_pw_13_bn", "BatchNormalization", (7, 7, 1024), 4096, 0
    )
    assert costs["conv_preds"] == LayerCost(
        "conv_preds", "Conv2D", (1, 1, 1000), 1_025_000, 1_024_000
    )


def other_mobilenet(convolve: Callable[[Any, int, int], Any], alpha: float, size: int) -> Any:
    """MobileNet's table 1 with something else in the place of each block, as a Keras model."""
    image = keras.Input((size, size, 3))
    x = layers.Conv2D(int(32 * alpha), 3, 2, padding="same", use_bias=False)(image)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    for block in BLOCKS:
        if block.stride > 1:
            x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
        x = layers.BatchNormalization()(convolve(x, int(block.filters * alpha), block.stride))
        x = layers.ReLU(6.0)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(1000)(x))


def standard(x: Any, filters: int, stride: int) -> Any:
    padding = "same" if stride == 1 else "valid"
    return layers.Conv2D(filters, 3, stride, padding, use_bias=False)(x)


def spatially_separable(x: Any, filters: int, stride: int) -> Any:
    padding = "same" if stride == 1 else "valid"
    x = layers.Conv2D(filters, (3, 1), (stride, 1), padding, use_bias=False)(x)
    return layers.Conv2D(filters, (1, 3), (1, stride), padding, use_bias=False)(x)


@pytest.mark.parametrize(
    ("column", "convolve"), [("standard", standard), ("spatial", spatially_separable)]
)
def test_the_other_columns_are_what_such_a_network_costs_when_it_is_built(
    column: str, convolve: Callable[[Any, int, int], Any]
) -> None:
    alpha, size = 0.5, 96
    compared = compare_convolutions(mobilenet_v1(alpha=alpha, image_size=size))
    total = sum((getattr(each, column) or Cost(0, 0) for each in compared), Cost(0, 0))
    model = other_mobilenet(convolve, alpha, size)
    assert total == Cost(model.count_params(), profiled(model))


def test_blocks_are_found_across_squeeze_and_excitation() -> None:
    model = applications.MobileNetV3Small((32, 32, 3), weights=None)  # its last maps are 1 x 1
    names = [layer.name for layer in model.layers]
    found = [(names[block.first], names[block.last]) for block in separable_blocks(model)]
    assert found == [("expanded_conv_depthwise", "expanded_conv_project")] + [
        (f"expanded_conv_{number}_depthwise", f"expanded_conv_{number}_project")
        for number in range(1, 11)
    ]


def test_nested_models_are_unfolded_and_named_after_them() -> None:
    base = mobilenet_v1(alpha=0.25, image_size=64, name="base")
    model = keras.Sequential([keras.Input((64, 64, 3)), base, layers.Dense(4, name="head")])
    costs = layer_costs(model)
    assert [cost.name for cost in costs[:2]] == ["base/input_layer", "base/conv1"]
    assert costs[-1] == LayerCost("head", "Dense", (4,), 4004, 4000)
    assert sum(cost.parameters for cost in costs) == model.count_params()
    assert len(separable_blocks(model)) == 13


def test_separable_and_transposed_convolutions_and_groups_count_too() -> None:
    image = keras.Input((8, 8, 4))
    x = layers.SeparableConv2D(6, 3, padding="same", name="separable")(image)
    x = layers.Conv2DTranspose(2, 3, strides=2, padding="same", name="transposed")(x)
    x = layers.Conv2D(4, 3, padding="same", groups=2, name="grouped")(x)
    x = layers.Conv1D(3, 5, padding="same", name="flat")(layers.Reshape((256, 4))(x))
    costs = {cost.name: cost for cost in layer_costs(keras.Model(image, x))}
    assert costs["separable"].mult_adds == (9 * 4 + 4 * 6) * 64
    assert costs["transposed"].mult_adds == 9 * 6 * 2 * 64
    assert costs["grouped"].mult_adds == 9 * 1 * 4 * 256
    assert costs["flat"].mult_adds == 5 * 4 * 3 * 256


def test_mult_adds_of_an_unknown_kind_are_none_and_not_nothing() -> None:
    image = keras.Input((8, 8, 3))
    x = layers.Reshape((64, 3))(image)
    x = layers.LSTM(5, name="lstm")(x)
    (lstm,) = [cost for cost in layer_costs(keras.Model(image, x)) if cost.name == "lstm"]
    assert (lstm.parameters, lstm.mult_adds) == (180, None)
