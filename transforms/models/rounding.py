"""Rounds convolution kernels to int8 so that the layers' outputs change least.

Plain rounding to the nearest of 255 values costs MobileNet v1 more than a point of accuracy. Here
batch normalisations are folded first; pointwise kernels are then rounded one input channel at a
time, the error of each made up for by the channels still to come (GPTQ: Frantar et al. 2022,
https://arxiv.org/abs/2210.17323), and what is left of each layer's mean error goes into its bias
(Nagel et al. 2019, section 4.2, https://arxiv.org/abs/1906.04721).
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_LEVELS = 127  # symmetric int8, as LiteRT stores kernels: -127..127
# Share of the mean variance added to the diagonal, as in GPTQ's own code.
_DAMPING = 0.01
# Fewer positions than this for each input channel say too little about their covariance.
_LEAST_SAMPLES_A_CHANNEL = 4


class _Pair(NamedTuple):
    """A convolution and the batch normalisation that follows it."""

    convolution: Any
    norm: Any


class _Moments(NamedTuple):
    """Of a layer's inputs: mean [channels], and second moment [channels, channels].

    Only pointwise kernels need the second, and enough positions seen to tell it.
    """

    mean: Array
    second: Array | None


def round_kernels(model: Any, batches: Iterable[Any]) -> None:
    """Replaces, in place, kernels by their rounded values and shifts the biases to match.

    The converter finds the same scales again, so that its own rounding changes nothing more.

    Args:
        model: A flat functional Keras model; layers inside nested models are left as they are.
        batches: Inputs as `model` takes them, `[n, size, size, 3]` float32.
    """
    pairs = _pairs(model)
    if not pairs:
        return
    for pair in pairs:
        _fold(pair)
    moments = _input_moments(model, pairs, batches)
    for pair, seen in zip(pairs, moments, strict=True):
        _round(pair, seen)


def _pairs(model: Any) -> list[_Pair]:
    found = []
    for layer in model.layers:
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        before = layer.input._keras_history.operation
        if isinstance(before, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)) and (
            not before.use_bias and before.activation is keras.activations.linear
        ):
            found.append(_Pair(before, layer))
    return found


def _fold(pair: _Pair) -> None:
    """Moves the scale of the normalisation into the kernel; its mean into beta."""
    norm = pair.norm
    gamma, beta, mean, variance = (
        np.asarray(weight, np.float64)
        for weight in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    )
    factor = gamma / np.sqrt(variance + norm.epsilon)
    kernel = np.asarray(pair.convolution.kernel, np.float64)
    _set_kernel(pair, kernel * (factor[:, None] if _is_depthwise(pair) else factor))
    ones, zeros = np.ones_like(gamma), np.zeros_like(gamma)
    norm.set_weights([ones, beta - mean * factor, zeros, ones - norm.epsilon])


def _input_moments(model: Any, pairs: list[_Pair], batches: Iterable[Any]) -> list[_Moments]:
    inputs = [pair.convolution.input for pair in pairs]
    pointwise = [i for i, pair in enumerate(pairs) if _is_pointwise(pair)]
    # TensorFlow sums them up: many threads of NumPy's on busy cores take ten times as long.
    sums = [keras.ops.sum(x, axis=(0, 1, 2)) for x in inputs]
    sums += [keras.ops.einsum("nhwi,nhwj->ij", inputs[i], inputs[i]) for i in pointwise]
    summing = keras.Model(model.input, {"sums": sums})
    images, totals = 0, [np.zeros(sum_.shape) for sum_ in sums]
    for batch in batches:
        images += len(batch)
        for total, found in zip(totals, summing.predict_on_batch(batch)["sums"], strict=True):
            total += found
    counts = [images * math.prod(x.shape[1:3]) for x in inputs]
    means = [total / count for total, count in zip(totals, counts, strict=False)]
    seconds: list[Array | None] = [None] * len(pairs)
    for i, total in zip(pointwise, totals[len(pairs) :], strict=True):
        if counts[i] >= _LEAST_SAMPLES_A_CHANNEL * len(total):
            seconds[i] = total / counts[i]
    return list(map(_Moments, means, seconds))


def _round(pair: _Pair, seen: _Moments) -> None:
    kernel = np.asarray(pair.convolution.kernel, np.float64)
    axes = (0, 1) if _is_depthwise(pair) else (0, 1, 2)
    scale = np.abs(kernel).max(axis=axes, keepdims=True) / _LEVELS
    scale[scale == 0] = 1.0
    if seen.second is not None:
        rounded = _round_columns(kernel[0, 0], scale[0, 0, 0], seen.second)[None, None]
    else:
        rounded = np.round(kernel / scale) * scale
    lost = (kernel - rounded).sum(axis=(0, 1))  # [in, out], or [in, 1] of a depthwise kernel
    shift = lost[:, 0] * seen.mean if _is_depthwise(pair) else seen.mean @ lost
    _set_kernel(pair, rounded)
    gamma, beta, *moving = pair.norm.get_weights()
    pair.norm.set_weights([gamma, beta + shift, *moving])


def _round_columns(kernel: Array, scale: Array, second_moment: Array) -> Array:
    """GPTQ of a pointwise kernel [in, out] with one scale an output channel.

    `second_moment` [in, in] is E[x x^T] of the layer's inputs.
    """
    left = kernel.copy()
    rounded = np.empty_like(kernel)
    damping = _DAMPING * np.trace(second_moment) / len(second_moment)
    inverse = np.linalg.inv(second_moment + damping * np.eye(len(second_moment)))
    upper = np.linalg.cholesky(inverse).T
    largest = np.abs(kernel).argmax(axis=0)  # must stay the largest, or the scale would change
    for row in range(len(kernel)):
        levels = np.clip(np.round(left[row] / scale), -_LEVELS, _LEVELS)
        levels = np.where(largest == row, _LEVELS * np.sign(kernel[row]), levels)
        rounded[row] = levels * scale
        error = (left[row] - rounded[row]) / upper[row, row]
        left[row + 1 :] -= np.outer(upper[row, row + 1 :], error)
    return rounded


def _is_depthwise(pair: _Pair) -> bool:
    return isinstance(pair.convolution, keras.layers.DepthwiseConv2D)


def _is_pointwise(pair: _Pair) -> bool:
    return not _is_depthwise(pair) and pair.convolution.kernel.shape[:2] == (1, 1)


def _set_kernel(pair: _Pair, kernel: Array) -> None:
    pair.convolution.kernel.assign(kernel)
