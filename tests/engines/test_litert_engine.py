"""Interpreters side by side, each with one image at a time."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.model_fixtures import TINY_LABELS, TINY_SIZE, TinyModel, assert_tells_apart
from tests.helpers.random_networks import photographs
from transforms.engines.litert_engine import LiteRTEngine
from transforms.models.artifact import NetworkRequest
from transforms.models.build_network import build_network


@pytest.fixture(scope="module")
def network(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("network")
    build_network(NetworkRequest("tiny", "float32", "litert", str(tiny_model.path)), folder)
    return str(folder / "network.tflite")


def scores(engine: LiteRTEngine, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """[n, 4], by class."""
    classes, values = engine.top_k(images)
    return np.take_along_axis(values, classes.argsort(axis=1), axis=1)


def test_each_image_has_its_own_scores_whatever_the_number_of_threads(network: str) -> None:
    images = list(photographs(TINY_SIZE))
    alone = LiteRTEngine(network, len(TINY_LABELS), threads=1)
    expected = np.concatenate([scores(alone, [image]) for image in images])
    assert_tells_apart(expected)
    engine = LiteRTEngine(network, len(TINY_LABELS), threads=3)
    np.testing.assert_array_equal(scores(engine, images * 5), np.tile(expected, (5, 1)))


@pytest.mark.timeout(40)  # without an interpreter, the second image would wait for good
def test_an_interpreter_that_fails_on_an_image_takes_the_next(network: str) -> None:
    engine = LiteRTEngine(network, 2, threads=1)
    with pytest.raises(ValueError, match="Dimension mismatch"):
        engine.top_k([np.zeros((5, 5, 3), np.uint8)])
    assert engine.top_k([photographs(TINY_SIZE)[0]])[0].shape == (1, 2)
