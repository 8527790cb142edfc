"""Kernels rounded to int8, compared with plain rounding."""

from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.model_fixtures import assert_tells_apart
from tests.helpers.random_networks import randomise
from transforms.models.calibration import calibration
from transforms.models.mobilenet import mobilenet_v1
from transforms.models.rounding import round_kernels

SIZE = 64
Array = NDArray[np.float32]


def crops() -> tuple[Array, Array]:
    """Of eight photographs, and of four others: [n, SIZE, SIZE, 3] float32, -1..1."""
    every = np.concatenate(list(calibration(SIZE)), dtype=np.float32) / np.float32(127.5) - 1
    return every[:64], every[64:]


def network() -> keras.Model:
    model = mobilenet_v1(alpha=0.25, image_size=SIZE, classes=10)
    randomise(model, crops()[0])
    return model


def batches() -> list[Array]:
    return np.split(crops()[0], 8)


def features(model: keras.Model, inputs: Array) -> Array:
    """What the last block gives: [n, height, width, channels]."""
    block = keras.Model(model.input, model.get_layer("conv_pw_13_relu").output)
    found: Array = block.predict(inputs, verbose=0)
    return found


def rounded_to_nearest(model: keras.Model) -> None:
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
            kernel = np.asarray(layer.kernel)
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            scale = np.abs(kernel).max(axis=(0, 1) if depthwise else (0, 1, 2), keepdims=True) / 127
            layer.kernel.assign(np.round(kernel / scale) * scale)


def test_the_outputs_move_less_than_by_plain_rounding_on_other_photographs() -> None:
    exact, plain, rounded = network(), network(), network()
    rounded_to_nearest(plain)
    round_kernels(rounded, batches())
    unseen = crops()[1]
    expected = features(exact, unseen)
    assert_tells_apart(expected.mean(axis=(1, 2)))
    by_plain = np.abs(features(plain, unseen) - expected).mean()
    by_ours = np.abs(features(rounded, unseen) - expected).mean()
    assert 0 < by_ours < 0.6 * by_plain


class Layer(NamedTuple):
    """A convolution and its normalisation, rounded."""

    kernel: Array  # as it was
    exact: Any  # what it gave, a function of inputs
    rounded: keras.Model


def rounded_layer(convolution: Any, seen: Array) -> Layer:
    random = np.random.default_rng(1)
    inputs = keras.Input(seen.shape[1:])
    model = keras.Model(inputs, keras.layers.BatchNormalization(epsilon=0.0)(convolution(inputs)))
    kernel = random.normal(size=convolution.kernel.shape).astype(np.float32)
    convolution.kernel.assign(kernel)
    exact = keras.models.clone_model(model)
    exact.set_weights(model.get_weights())
    round_kernels(model, [seen])
    return Layer(kernel, exact, model)


def correlated(images: int) -> Array:
    """[images, 8, 8, 64], no less than 0: mixtures of eight features, as in a trained network."""
    mixture = np.random.default_rng(2).normal(size=(8, 64))
    random = np.random.default_rng(images)
    mixed = random.normal(size=(images, 8, 8, 8)) @ mixture
    noise = 0.3 * random.normal(size=mixed.shape)
    return np.maximum(mixed + noise, 0).astype(np.float32)


def test_a_channel_makes_up_for_the_rounding_of_those_before_it() -> None:
    seen, unseen = correlated(40), correlated(20)
    kernel, exact, rounded = rounded_layer(keras.layers.Conv2D(32, 1, use_bias=False), seen)
    scale = np.abs(kernel).max(axis=2, keepdims=True) / 127
    nearest = np.round(kernel / scale) * scale
    shift = seen.mean(axis=(0, 1, 2)) @ (kernel - nearest)[0, 0]
    expected = np.asarray(exact(unseen))
    by_plain = np.abs(unseen @ nearest[0, 0] + shift - expected).mean()
    by_ours = np.abs(np.asarray(rounded(unseen)) - expected).mean()
    assert 0 < by_ours < 0.7 * by_plain


@pytest.mark.parametrize(
    "convolution",
    [
        keras.layers.Conv2D(16, 1, use_bias=False),
        keras.layers.DepthwiseConv2D(2, strides=2, use_bias=False),
    ],
    ids=["pointwise", "depthwise"],
)
def test_the_bias_takes_up_the_mean_error(convolution: Any) -> None:
    seen = correlated(40).repeat(2, axis=1).repeat(2, axis=2)  # as much in each of 2 x 2 places
    _, exact, rounded = rounded_layer(convolution, seen)
    expected, found = np.asarray(exact(seen)), np.asarray(rounded(seen))
    assert np.abs(found - expected).max() > 1e-3
    means = expected.mean(axis=(0, 1, 2)), found.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(*means, atol=1e-3)


def test_the_largest_weight_stays_since_it_is_the_scale() -> None:
    layer = keras.layers.Conv2D(256, 1, use_bias=False)
    kernel, _, rounded = rounded_layer(layer, correlated(40))
    largest = np.abs(rounded.get_layer(layer.name).kernel).max(axis=2)
    np.testing.assert_allclose(largest, np.abs(kernel).max(axis=2), rtol=1e-5)


def test_every_folded_kernel_holds_only_255_levels_a_channel() -> None:
    model = network()
    round_kernels(model, batches())
    for name in ("conv1", "conv_dw_5", "conv_pw_5"):
        kernel = np.asarray(model.get_layer(name).kernel, np.float64)
        axes = (0, 1) if name.startswith("conv_dw") else (0, 1, 2)
        levels = kernel / (np.abs(kernel).max(axis=axes, keepdims=True) / 127)
        np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)


def test_folding_alone_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.models.rounding._round", lambda pair, seen: None)
    exact, folded = network(), network()
    round_kernels(folded, batches())
    inputs = batches()[0]
    np.testing.assert_allclose(features(folded, inputs), features(exact, inputs), atol=1e-4)


def test_a_model_without_batch_normalisation_is_left_as_it_is() -> None:
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    before = model.get_weights()
    round_kernels(model, [])
    for expected, found in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
