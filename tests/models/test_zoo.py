"""The networks that `--model` names, each fed and weighted as Keras does it, by both engines."""

from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.model_fixtures import PHOTOS, assert_tells_apart
from tests.helpers.random_networks import engine_scores, photographs, randomise
from transforms.models.artifact import NetworkRequest
from transforms.models.errors import ModelError
from transforms.models.scripts.convert_efficientnet_lite0 import read_photographs
from transforms.models.zoo import ARCHITECTURES, architecture

SIZE = 96
CLASSES = 7
REFERENCE = PHOTOS.parent / "efficientnet_lite0_reference.npz"
applications = keras.applications

# Each with the preprocessing that its own keras.applications module documents.
KERAS: dict[str, tuple[Any, Any]] = {
    "mobilenet": (applications.MobileNet, applications.mobilenet),
    "mobilenet_v2": (applications.MobileNetV2, applications.mobilenet_v2),
    "mobilenet_v3_small": (applications.MobileNetV3Small, applications.mobilenet_v3),
    "mobilenet_v3_large": (applications.MobileNetV3Large, applications.mobilenet_v3),
}


Engine = Literal["tensorflow", "litert"]


# Each network by both engines, at its extreme widths; v1's others: `test_half_precision_...`.
@pytest.mark.parametrize(
    ("name", "alpha", "engine"),
    [
        ("mobilenet", 0.25, "tensorflow"),
        ("mobilenet", 1.0, "litert"),
        ("mobilenet_v2", 0.35, "litert"),
        ("mobilenet_v2", 1.4, "tensorflow"),
        ("mobilenet_v3_small", 0.75, "litert"),
        ("mobilenet_v3_small", 1.0, "tensorflow"),
        ("mobilenet_v3_large", 0.75, "tensorflow"),
        ("mobilenet_v3_large", 1.0, "litert"),
    ],
)
def test_each_network_answers_to_pixels_what_keras_answers(
    tmp_path: Path, name: str, alpha: float, engine: Engine
) -> None:
    build, module = KERAS[name]
    model = build((SIZE, SIZE, 3), alpha=alpha, weights=None, classes=CLASSES)
    pixels = photographs(SIZE)
    inputs = module.preprocess_input(pixels.astype(np.float32))
    randomise(model, inputs)
    weights = str(tmp_path / "random.weights.h5")
    model.save_weights(weights)
    expected = np.asarray(model(inputs, training=False))
    assert_tells_apart(expected)
    request = NetworkRequest(
        *(name, "float32", engine), None, weights, alpha=alpha, image_size=SIZE, classes=CLASSES
    )
    np.testing.assert_allclose(engine_scores(request, tmp_path, pixels), expected, atol=1e-4)


@pytest.mark.parametrize("engine", ["litert", "tensorflow"])
def test_efficientnet_lite0_answers_to_pixels_what_the_original_answers(
    tmp_path: Path, engine: Engine
) -> None:
    with np.load(REFERENCE) as reference:
        inputs = read_photographs([PHOTOS / name for name in reference["names"]])
        expected = np.asarray(keras.ops.softmax(reference["logits"]))
    assert_tells_apart(expected)
    pixels: NDArray[np.uint8] = np.round(inputs * 128 + 127).astype(np.uint8)
    request = NetworkRequest(
        "efficientnet_lite0", "float32", engine, alpha=1.0, image_size=224, classes=1000
    )
    found = engine_scores(request, tmp_path, pixels)
    np.testing.assert_allclose(found, expected, atol=5e-3)  # its kernels are kept in 16 bits


def test_every_published_width_and_size_has_its_own_file() -> None:
    files = [
        entry.published(alpha, size).file_name
        for entry in ARCHITECTURES.values()
        if entry.weights_file
        for alpha in entry.alphas
        for size in entry.image_sizes
    ]
    assert len(files) == len(set(files)) == 4 * 4 + 6 * 5 + 2 + 2


def test_an_unknown_network_names_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"'mobilnet_v2' is unknown \(did you mean 'mobilenet_v2"):
        architecture("mobilnet_v2")
