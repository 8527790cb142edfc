"""What a model's outputs are is known by what computes them, and else by its answers."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from transforms.models.calibration import calibration
from transforms.models.outputs import Outputs, outputs_of
from transforms.models.zoo import INSIDE_THE_NETWORK, MINUS_ONE_TO_ONE

SIZE = 32
HINT = "; --outputs changes that"
SOFTMAX = Outputs("probabilities", False, "a softmax computes them" + HINT)
SIGMOID = Outputs("probabilities", True, "a sigmoid computes them" + HINT)
LOGITS = Outputs("logits", False, "they are not within 0..1" + HINT)
SUM_TO_ONE = Outputs(
    "probabilities", False, "they are within 0..1 and sum to 1 for 16 pictures" + HINT
)
WITHIN = Outputs("probabilities", True, "they are within 0..1 for 16 pictures" + HINT)


def dense(units: int = 4, activation: str | None = None) -> Any:
    return layers.Dense(units, activation=activation)


def model_of(head: Callable[[Any], Any]) -> Any:
    """A model whose answers differ from picture to picture, a `head` on 6 features of colour."""
    keras.utils.set_random_seed(1)
    image = keras.Input((SIZE, SIZE, 3))
    features = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3, activation="tanh")(image))
    return keras.Model(image, head(layers.Rescaling(5.0)(features)))


def in_a_model(*inner: Any) -> Any:
    return keras.Sequential([keras.Input((4,)), *inner])


def shares(x: Any) -> Any:
    return x / ops.sum(x, axis=1, keepdims=True)


def aggregated(x: Any) -> Any:
    """Four probabilities, made two by a layer of sums: of whom it belongs to, for example."""
    sums = keras.initializers.Constant([[1, 0], [1, 0], [0, 1], [0, 1]])
    return layers.Dense(2, use_bias=False, kernel_initializer=sums)(dense(4, "softmax")(x))


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (dense(), LOGITS),
        (dense(4, "softmax"), SOFTMAX),
        (dense(4, "sigmoid"), SIGMOID),
        (lambda x: layers.Softmax()(dense()(x)), SOFTMAX),
        (lambda x: layers.Activation("softmax")(dense()(x)), SOFTMAX),
        (lambda x: ops.softmax(dense()(x)), SOFTMAX),
        (lambda x: ops.sigmoid(dense()(x)), SIGMOID),
        (lambda x: ops.cast(ops.sigmoid(ops.cast(dense()(x), "float16")), "float32"), SIGMOID),
        (lambda x: layers.Activation("linear", dtype="float32")(dense(4, "softmax")(x)), SOFTMAX),
        (lambda x: layers.Activation("linear")(dense()(x)), LOGITS),
        (lambda x: layers.Dropout(0.5)(dense(4, "sigmoid")(x)), SIGMOID),
        (lambda x: layers.Reshape((4,))(dense(4, "sigmoid")(x)), SIGMOID),
        (lambda x: layers.Reshape((4,))(dense()(x)), LOGITS),
        (lambda x: in_a_model(layers.Reshape((4,)))(dense(4, "softmax")(x)), SOFTMAX),
        (lambda x: in_a_model(dense(3, "softmax"))(dense()(x)), SOFTMAX),
        (lambda x: layers.Concatenate()([dense(1, "sigmoid")(x), dense(2, "sigmoid")(x)]), SIGMOID),
        (lambda x: layers.Concatenate()([dense(1, "sigmoid")(x), dense(2)(x)]), LOGITS),
        (lambda x: layers.Concatenate()([p := dense(1, "sigmoid")(x), 1 - p]), SUM_TO_ONE),
        (lambda x: layers.Concatenate()([dense(2, "sigmoid")(x), dense(2, "tanh")(x)]), LOGITS),
        (lambda x: ops.softmax(dense(5)(x))[:, 1:], SIGMOID._replace(why=SOFTMAX.why)),
        (lambda x: layers.Average()([dense(4, "softmax")(x), dense(4, "softmax")(x)]), SUM_TO_ONE),
        (lambda x: layers.Activation("hard_sigmoid")(dense()(x)), WITHIN),
        (lambda x: shares(ops.exp(dense()(x))), SUM_TO_ONE),
        (lambda x: ops.clip(dense(4, "softmax")(x), 1e-7, 1.0), SUM_TO_ONE),
        (aggregated, SUM_TO_ONE),
        (lambda x: layers.Activation("tanh")(dense()(x)), LOGITS),
        (lambda x: layers.Activation("log_softmax")(dense()(x)), LOGITS),
        (lambda x: layers.BatchNormalization()(dense()(x)), LOGITS),
    ],
)  # fmt: skip
def test_what_computes_the_outputs_decides_and_else_the_answers(
    head: Callable[[Any], Any], expected: Outputs
) -> None:
    model = model_of(head)
    pictures = np.concatenate([*calibration(SIZE)]) / 127.5 - 1
    assert np.ptp(model(pictures, training=False), axis=0).max() > 0.01
    assert outputs_of(model, MINUS_ONE_TO_ONE, "auto") == expected


def test_the_answers_are_those_to_pictures_as_the_model_takes_them() -> None:
    image = keras.Input((SIZE, SIZE, 3))
    brightness = layers.Rescaling(0.5, 0.5)(layers.GlobalAveragePooling2D()(image))
    model = keras.Model(image, brightness)
    assert outputs_of(model, MINUS_ONE_TO_ONE, "auto") == WITHIN
    assert outputs_of(model, INSIDE_THE_NETWORK, "auto") == LOGITS


def small(units: int) -> Any:
    """A layer that gives between 0.4 and 0.6 and yet has no bounds."""
    random = keras.initializers.RandomUniform(-0.01, 0.01, seed=1)
    half = keras.initializers.Constant(0.5)
    return layers.Dense(units, kernel_initializer=random, bias_initializer=half)


@pytest.mark.parametrize("units", [1, 4])
@pytest.mark.parametrize("last", [layers.Identity(), layers.ReLU(), layers.Rescaling(1.0)])
def test_logits_that_happen_to_be_within_0_and_1_are_logits_all_the_same(
    units: int, last: Any
) -> None:
    found = outputs_of(model_of(lambda x: last(small(units)(x))), MINUS_ONE_TO_ONE, "auto")
    assert (found.kind, found.is_multi_label) == ("logits", False)
    assert found.why.endswith(f" computes them, which has no bounds{HINT}")


@pytest.mark.parametrize(
    ("head", "expected"),
    [(dense(1, "sigmoid"), "probabilities"), (dense(1), "logits")],
)
def test_a_single_probability_is_of_one_of_two_classes_and_never_multi_label(
    head: Any, expected: str
) -> None:
    found = outputs_of(model_of(head), MINUS_ONE_TO_ONE, "auto")
    assert (found.kind, found.is_multi_label) == (expected, False)


def test_what_is_declared_holds() -> None:
    why = "as --outputs says"
    softmax, sigmoids = model_of(dense(4, "softmax")), model_of(small(4))
    assert outputs_of(softmax, MINUS_ONE_TO_ONE, "logits") == Outputs("logits", False, why)
    found = outputs_of(sigmoids, MINUS_ONE_TO_ONE, "probabilities")
    assert found == Outputs("probabilities", True, why)


def test_what_is_no_probability_cannot_be_declared_to_be_one() -> None:
    with pytest.raises(ValueError, match=r"it answers -.* to .*, which are no probabilities"):
        outputs_of(model_of(dense()), MINUS_ONE_TO_ONE, "probabilities")


def test_a_model_that_answers_nan_is_refused() -> None:
    model = model_of(dense(4, "softmax"))
    model.layers[-1].set_weights([np.full_like(w, np.nan) for w in model.layers[-1].get_weights()])
    with pytest.raises(ValueError, match="it answers NaN or infinity to pictures"):
        outputs_of(model, MINUS_ONE_TO_ONE, "auto")


def test_a_note_says_what_was_decided_and_why() -> None:
    assert SOFTMAX.note() == (
        "outputs taken as probabilities: a softmax computes them; --outputs changes that"
    )
    assert SIGMOID.note() == (
        "outputs taken as probabilities (multi-label: scores do not sum to 1): a sigmoid computes "
        "them; --outputs changes that"
    )
