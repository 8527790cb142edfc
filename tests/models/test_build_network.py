"""The networks that engines run give what the Keras model gives."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.model_fixtures import PHOTOS, TinyModel
from transforms.decode_images import Preprocessing, decode_image
from transforms.engines import Engine
from transforms.engines.litert_engine import LiteRTEngine
from transforms.engines.tensorflow_engine import TensorFlowEngine
from transforms.models.artifact import NetworkRequest
from transforms.models.build_network import build_network
from transforms.models.errors import ModelError

SIZE = 96
CLASSES = 7


def photographs(size: int) -> list[NDArray[np.uint8]]:
    preprocessing = Preprocessing(size, "crop", 10**8)
    return [decode_image(path.read_bytes(), preprocessing).pixels for path in PHOTOS.iterdir()]


def request(name: str, **changes: Any) -> NetworkRequest:
    whole = NetworkRequest(
        name=name,
        alpha=0.35 if name == "mobilenet_v2" else 0.75,
        image_size=SIZE,
        classes=CLASSES,
        precision="float32",
        engine="litert",
    )
    return whole._replace(**changes)


def engine_of(request: NetworkRequest, folder: Path, size: int = SIZE) -> Engine:
    build_network(request, folder)
    if request.engine == "litert":
        return LiteRTEngine(str(folder / "network.tflite"), top_k=2, threads=2)
    return TensorFlowEngine(str(folder / "saved_model"), size, top_k=2, batch_size=5)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Random networks whose batch normalisations do something, by name: the model and its file."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    applications = keras.applications
    found = {}
    for name, build in (
        ("mobilenet", applications.MobileNet),
        ("mobilenet_v2", applications.MobileNetV2),
        ("mobilenet_v3_small", applications.MobileNetV3Small),
    ):
        alpha = request(name).alpha
        model = build((SIZE, SIZE, 3), alpha=alpha, weights=None, classes=CLASSES)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.set_weights([random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
        path = tmp_path_factory.mktemp("weights") / f"{name}.weights.h5"
        model.save_weights(path)
        found[name] = (model, str(path))
    return found


# Each by the preprocessing that its own keras.applications module documents.
PREPROCESS = {
    "mobilenet": keras.applications.mobilenet.preprocess_input,
    "mobilenet_v2": keras.applications.mobilenet_v2.preprocess_input,
    "mobilenet_v3_small": keras.applications.mobilenet_v3.preprocess_input,
}


@pytest.mark.parametrize("name", PREPROCESS)
@pytest.mark.parametrize("engine", ["litert", "tensorflow"])
def test_each_network_with_its_own_preprocessing_gives_what_keras_gives(
    tmp_path: Path, weights: dict[str, Any], name: str, engine: str
) -> None:
    model, path = weights[name]
    images = photographs(SIZE)
    inputs = PREPROCESS[name](np.stack(images).astype(np.float32))
    expected = model.predict(inputs, verbose=0)
    found = engine_of(request(name, weights_file=path, engine=engine), tmp_path)
    classes, scores = found.top_k(images)
    best = np.argsort(-expected, axis=1)[:, :2]
    np.testing.assert_array_equal(classes, best)
    np.testing.assert_allclose(scores, np.take_along_axis(expected, best, 1), atol=1e-4)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_stays_close_to_float32(
    tmp_path: Path, weights: dict[str, Any], precision: str
) -> None:
    model, path = weights["mobilenet"]
    images = photographs(SIZE)
    inputs = PREPROCESS["mobilenet"](np.stack(images).astype(np.float32))
    expected = np.sort(model.predict(inputs, verbose=0), axis=1)[:, ::-1][:, :2]
    halved = request("mobilenet", weights_file=path, engine="tensorflow", precision=precision)
    _, scores = engine_of(halved, tmp_path).top_k(images)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=0.05)
    assert np.abs(scores - expected).max() > 1e-6, "this was computed in float32"


# The converter would like statistics of the uint8 input, whose range needs none.
@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
def test_int8_stays_close_to_float32(tmp_path: Path, tiny_model: TinyModel) -> None:
    own = request("tiny", model_file=str(tiny_model.path), image_size=None)
    (tmp_path / "float32").mkdir()
    (tmp_path / "int8").mkdir()
    images = photographs(32)
    _, exact = engine_of(own, tmp_path / "float32").top_k(images)
    _, close = engine_of(own._replace(precision="int8"), tmp_path / "int8").top_k(images)
    np.testing.assert_allclose(close, exact, atol=0.05)
    assert np.abs(close - exact).max() > 0


def test_logits_of_an_own_model_become_probabilities(tmp_path: Path, tiny_model: TinyModel) -> None:
    own = request("tiny", model_file=str(tiny_model.path), image_size=None)
    build_network(own, tmp_path)
    engine = LiteRTEngine(str(tmp_path / "network.tflite"), top_k=4, threads=1)
    _, scores = engine.top_k(photographs(32))
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)


def test_a_model_with_its_own_rescaling_is_not_scaled_twice(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    pixels = keras.Input((32, 32, 3))
    inner = keras.Sequential([keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3)])
    pooled = keras.layers.GlobalAveragePooling2D()(inner(pixels))
    model = keras.Model(pixels, keras.layers.Dense(3, activation="softmax")(pooled))
    model.save(tmp_path / "own.keras")
    own = request("own", model_file=str(tmp_path / "own.keras"), image_size=None)
    images = photographs(32)
    expected = model.predict(np.stack(images).astype(np.float32), verbose=0).max(axis=1)
    _, scores = engine_of(own, tmp_path).top_k(images)
    np.testing.assert_allclose(scores[:, 0], expected, atol=1e-5)


def test_a_model_that_is_no_image_classifier_is_refused(tmp_path: Path) -> None:
    vectors = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    oblong = keras.Sequential([keras.Input((32, 64, 3)), keras.layers.Flatten()])
    maps = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(2, 3)])
    for model, message in (
        (vectors, "not one batch of RGB images"),
        (oblong, "takes images of 32 x 64; save it with a fixed square input"),
        (maps, "not one row of class scores"),
    ):
        model.save(tmp_path / "own.keras")
        own = request("own", model_file=str(tmp_path / "own.keras"))
        with pytest.raises(ModelError, match=message):
            build_network(own, tmp_path)


def test_code_in_a_model_file_is_never_run(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Lambda(lambda x: x), keras.layers.Flatten()]
    )
    model.save(tmp_path / "own.keras")
    own = request("own", model_file=str(tmp_path / "own.keras"))
    with pytest.raises(ModelError, match="cannot be loaded"):
        build_network(own, tmp_path)
