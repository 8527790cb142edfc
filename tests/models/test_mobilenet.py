import math
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.helpers.model_fixtures import assert_tells_apart
from tests.helpers.random_networks import photographs, randomise
from transforms.models.mobilenet import mobilenet_v1

SHARED = Path(__file__).parents[3] / "shared"
PHOTOGRAPHS = (
    "n01614925_bald_eagle",
    "n02088364_beagle",
    "n02129604_tiger",
    "n02676566_acoustic_guitar",
    "n02951358_canoe",
)


def keras_applications(alpha: float, image_size: int, **options: Any) -> keras.Model:
    shape = (image_size, image_size, 3)
    return keras.applications.MobileNet(shape, alpha, weights=None, **options)


def assert_equal_with_random_weights(ours: keras.Model, theirs: keras.Model) -> None:
    images = photographs(ours.input_shape[1])[:4] / np.float32(127.5) - 1
    randomise(theirs, images)
    ours.set_weights(theirs.get_weights())
    expected = theirs(images, training=False).numpy()
    assert_tells_apart(expected)
    np.testing.assert_array_equal(ours(images, training=False).numpy(), expected)


@pytest.mark.parametrize("image_size", [128, 160, 192, 224])
@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.75, 1.0])
def test_output_equals_keras_applications_bit_for_bit(alpha: float, image_size: int) -> None:
    ours = mobilenet_v1(alpha=alpha, image_size=image_size, classes=10)
    assert_equal_with_random_weights(ours, keras_applications(alpha, image_size, classes=10))


@pytest.mark.parametrize("image_size", [32, 33, 150])
def test_output_is_equal_at_small_and_odd_sizes_and_odd_widths(image_size: int) -> None:
    ours = mobilenet_v1(alpha=0.35, image_size=image_size, classes=10)
    assert_equal_with_random_weights(ours, keras_applications(0.35, image_size, classes=10))


def test_output_is_equal_with_depth_multiplier_2_and_20_classes() -> None:
    ours = mobilenet_v1(alpha=0.5, image_size=128, depth_multiplier=2, classes=20)
    theirs = keras_applications(0.5, 128, depth_multiplier=2, classes=20)
    assert_equal_with_random_weights(ours, theirs)


def layout(model: keras.Model) -> list[tuple[str, list[tuple[int, ...]]]]:
    """The layers' names and weight shapes, in order."""
    # Keras numbers these three by how many of them the process has made.
    counted = re.compile(r"(input_layer|global_average_pooling2d|dropout)(_\d+)?")
    return [
        (counted.sub(r"\1", layer.name), [tuple(weight.shape) for weight in layer.weights])
        for layer in model.layers
    ]


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.75, 1.0])
def test_layer_names_and_weight_shapes_are_those_of_keras_applications(alpha: float) -> None:
    assert layout(mobilenet_v1(alpha=alpha)) == layout(keras_applications(alpha, 224))


def test_parameters_of_the_full_network_are_counted_as_in_keras() -> None:
    model = mobilenet_v1()
    assert model.count_params() == 4_253_864  # 4.2 million in the paper's table 8
    assert model.input_shape == (None, 224, 224, 3)
    assert model.output_shape == (None, 1000)


def test_dropout_reaches_its_layer() -> None:
    assert mobilenet_v1(alpha=0.25).get_layer("dropout").rate == 1e-3
    assert mobilenet_v1(alpha=0.25, dropout=0.5).get_layer("dropout").rate == 0.5


def test_name_tells_width_and_size_unless_given() -> None:
    assert mobilenet_v1(alpha=0.25, image_size=128).name == "mobilenet_v1_0.25_128"
    assert mobilenet_v1(alpha=0.25, name="cats").name == "cats"


@pytest.mark.parametrize(("width", "alpha"), [("2_5", 0.25), ("7_5", 0.75)])
def test_published_weights_predict_as_in_keras_applications(width: str, alpha: float) -> None:
    weights = SHARED / "weights" / f"mobilenet_{width}_224_tf.h5"
    paths = [SHARED / "images" / f"{name}.JPEG" for name in PHOTOGRAPHS]
    for path in (weights, *paths):
        if not path.is_file():
            pytest.skip(f"there is no {path}")
    photographs = [keras.utils.load_img(path, target_size=(224, 224)) for path in paths]
    images = np.stack([np.asarray(each, np.float32) / 127.5 - 1 for each in photographs])
    ours, theirs = mobilenet_v1(alpha=alpha), keras_applications(alpha, 224)
    ours.load_weights(weights)
    theirs.load_weights(weights)
    expected = theirs(images, training=False).numpy()
    np.testing.assert_array_equal(ours(images, training=False).numpy(), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 0}, "alpha is 0, .* at least 0.03125"),
        ({"alpha": -0.5}, "alpha is -0.5, .* at least 0.03125"),
        ({"alpha": 0.03}, "alpha is 0.03, .* at least 0.03125"),
        ({"alpha": math.nan}, "alpha is nan, .* at least 0.03125"),
        ({"alpha": math.inf}, "alpha is inf, .* at least 0.03125"),
        ({"depth_multiplier": 0}, "depth_multiplier is 0, .* give 1, "),
        ({"dropout": -0.1}, "dropout is -0.1, .* give 0 or more and less than 1"),
        ({"dropout": 1}, "dropout is 1, .* give 0 or more and less than 1"),
        ({"classes": 0}, "classes is 0, .* give 1 or more"),
        ({"image_size": 31}, "image_size is 31, .* give 32 or more"),
    ],
)
def test_argument_out_of_range_is_an_error(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        mobilenet_v1(**arguments)
