from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from transforms.models.efficientnet_lite import efficientnet_lite0, load_packaged_weights
from transforms.models.scripts.convert_efficientnet_lite0 import read_photographs

DATA = Path(__file__).parents[1] / "data"
REFERENCE = DATA / "efficientnet_lite0_reference.npz"


@pytest.fixture(scope="module")
def packaged() -> keras.Model:
    model = efficientnet_lite0()
    load_packaged_weights(model)
    return model


@pytest.fixture(scope="module")
def photographs() -> NDArray[np.float32]:
    with np.load(REFERENCE) as reference:
        return read_photographs([DATA / "photos" / name for name in reference["names"]])


@pytest.fixture(scope="module")
def original_logits() -> NDArray[np.float32]:
    """What the PyTorch network answers to the photographs, kept by the conversion script."""
    with np.load(REFERENCE) as reference:
        logits: NDArray[np.float32] = reference["logits"]
    return logits


def count(variables: list[keras.Variable]) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


def test_logits_equal_the_original_networks_on_photographs(
    packaged: keras.Model,
    photographs: NDArray[np.float32],
    original_logits: NDArray[np.float32],
) -> None:
    logits = keras.Model(packaged.input, packaged.get_layer("logits").output)
    got = logits(photographs, training=False).numpy()
    assert got.shape == (12, 1000)
    np.testing.assert_allclose(got, original_logits, rtol=0, atol=1e-2)
    np.testing.assert_array_equal(got.argmax(axis=1), original_logits.argmax(axis=1))


def test_output_is_the_softmax_of_the_logits(
    packaged: keras.Model,
    photographs: NDArray[np.float32],
    original_logits: NDArray[np.float32],
) -> None:
    got = packaged(photographs, training=False).numpy()
    exponentials = np.exp(original_logits)
    expected = exponentials / exponentials.sum(axis=1, keepdims=True)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=0, atol=5e-3)


def test_parameter_count_is_the_authors() -> None:
    model = efficientnet_lite0()
    # expected_params of Tan and Le's efficientnet_lite_builder_test.py: 4.7 M in their README
    assert count(model.trainable_variables) == 4_652_008
    # a moving mean and variance for each of the 21,008 normalised channels
    assert count(model.non_trainable_weights) == 42_016


def test_wrong_number_of_classes_names_the_layer_and_fills_nothing() -> None:
    model = efficientnet_lite0(classes=10)
    stem = model.get_layer("stem_conv").kernel.numpy()
    with pytest.raises(
        ValueError,
        match=r"layer 'logits' has a kernel of shape \(1280, 10\) in this network but "
        r"\(1280, 1000\) in efficientnet_lite0.npz",
    ):
        load_packaged_weights(model)
    np.testing.assert_array_equal(model.get_layer("stem_conv").kernel.numpy(), stem)


def test_other_network_names_its_first_layer_that_differs() -> None:
    image = keras.Input((224, 224, 3))
    x = keras.layers.Conv2D(32, 5, use_bias=False, name="stem_conv")(image)
    with pytest.raises(
        ValueError, match=r"layer 'stem_conv' has a kernel of shape \(5, 5, 3, 32\)"
    ):
        load_packaged_weights(keras.Model(image, x))


def test_network_that_lacks_layers_names_the_first_missing() -> None:
    model = efficientnet_lite0()
    headless = keras.Model(model.input, model.get_layer("pool").output)
    with pytest.raises(ValueError, match=r"layer 'logits' has a kernel of shape None"):
        load_packaged_weights(headless)
