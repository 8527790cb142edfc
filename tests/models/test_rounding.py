"""Kernels rounded to int8, compared with plain rounding."""

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from transforms.models.mobilenet import mobilenet_v1
from transforms.models.rounding import round_kernels


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = mobilenet_v1(alpha=0.25, image_size=64, classes=10)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model


def batches() -> list[NDArray[np.float32]]:
    random = np.random.default_rng(1)
    return [random.uniform(-1, 1, (8, 64, 64, 3)).astype(np.float32) for _ in range(6)]


def features(model: keras.Model, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the last block gives: [n, height, width, channels]."""
    block = keras.Model(model.input, model.get_layer("conv_pw_13_relu").output)
    found: NDArray[np.float32] = block.predict(inputs, verbose=0)
    return found


def rounded_to_nearest(model: keras.Model) -> None:
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
            kernel = np.asarray(layer.kernel)
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            scale = np.abs(kernel).max(axis=(0, 1) if depthwise else (0, 1, 2), keepdims=True) / 127
            layer.kernel.assign(np.round(kernel / scale) * scale)


def test_the_outputs_move_less_than_by_plain_rounding() -> None:
    exact, plain, rounded = network(), network(), network()
    rounded_to_nearest(plain)
    round_kernels(rounded, batches())
    unseen = np.random.default_rng(2).uniform(-1, 1, (8, 64, 64, 3)).astype(np.float32)
    expected = features(exact, unseen)
    by_plain = np.abs(features(plain, unseen) - expected).mean()
    by_ours = np.abs(features(rounded, unseen) - expected).mean()
    assert 0 < by_ours < 0.8 * by_plain


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
