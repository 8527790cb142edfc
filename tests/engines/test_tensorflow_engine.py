"""Batches of one size, and of half that once they do not fit into memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.model_fixtures import TINY_SIZE, TinyModel, assert_tells_apart
from transforms.engines.litert_engine import LiteRTEngine
from transforms.engines.tensorflow_engine import TensorFlowEngine
from transforms.models.artifact import NetworkRequest
from transforms.models.build_network import build_network


@pytest.fixture
def engine(tiny_model: TinyModel, tmp_path: Path) -> TensorFlowEngine:
    request = NetworkRequest("tiny", "float32", "tensorflow", model_file=str(tiny_model.path))
    build_network(request, tmp_path)
    return TensorFlowEngine(str(tmp_path / "saved_model"), TINY_SIZE, top_k=2, batch_size=8)


def images(count: int) -> list[Any]:
    random = np.random.default_rng(0)
    colours = random.integers(0, 128, (count, 1, 1, 3), "u1")
    return list(colours + random.integers(0, 128, (count, TINY_SIZE, TINY_SIZE, 3), "u1"))


def short_of_memory(
    engine: TensorFlowEngine, monkeypatch: pytest.MonkeyPatch, most: int
) -> list[int]:
    """An engine whose memory takes `most` images at once; the batches that were tried."""
    tried: list[int] = []
    classify: Callable[[Any], Any] = engine.classify

    def limited(batch: Any) -> Any:
        tried.append(len(batch))
        if len(batch) > most:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating\nmore")
        return classify(batch)

    monkeypatch.setattr(engine, "classify", limited)
    return tried


def test_padding_never_changes_a_row(engine: TensorFlowEngine) -> None:
    some = images(19)
    classes, scores = engine.top_k(some)
    assert_tells_apart(scores)
    for i, image in enumerate(some):
        alone, score = engine.top_k([image])
        np.testing.assert_array_equal(alone[0], classes[i])
        np.testing.assert_allclose(score[0], scores[i], atol=1e-6)


def test_threads_get_the_rows_of_their_own_images(engine: TensorFlowEngine) -> None:
    batches = [images(8)[i:] for i in range(8)] * 4
    expected = [engine.top_k(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(engine.top_k, batches))
    for (classes, scores), (others, values) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(classes, others)
        np.testing.assert_array_equal(scores, values)


def test_an_image_that_fails_is_not_left_in_the_padding(
    engine: TensorFlowEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    classify: Callable[[Any], Any] = engine.classify

    def choking(batch: Any) -> Any:
        if (batch == 255).all(axis=(1, 2, 3)).any():
            raise tf.errors.InvalidArgumentError(None, None, "bad pixels")
        return classify(batch)

    monkeypatch.setattr(engine, "classify", choking)
    good = images(3)
    with pytest.raises(tf.errors.InvalidArgumentError):
        engine.top_k([*good, np.full_like(good[0], 255)])
    assert len(engine.top_k(good)[0]) == 3


def test_one_size_of_batch_is_traced_once(engine: TensorFlowEngine) -> None:
    for count in (1, 8, 3, 19):
        engine.top_k(images(count))
    assert engine.classify.experimental_get_tracing_count() == 1


def test_out_of_memory_halves_the_batch_and_remembers(
    engine: TensorFlowEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = images(7)
    expected = engine.top_k(some)
    tried = short_of_memory(engine, monkeypatch, most=3)
    classes, scores = engine.top_k(some)
    np.testing.assert_array_equal(classes, expected[0])
    np.testing.assert_allclose(scores, expected[1], atol=1e-6)
    assert tried == [8, 4, 2, 2, 2, 2]
    assert engine.batch_size == 2
    engine.top_k(some)
    assert tried[6:] == [2, 2, 2, 2]


def test_no_memory_for_a_single_image_is_a_memory_error(
    engine: TensorFlowEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_of_memory(engine, monkeypatch, most=0)
    with pytest.raises(MemoryError, match=r"^OOM when allocating$"):
        engine.top_k(images(3))
    assert engine.batch_size == 1


def test_the_classes_are_those_of_litert(
    engine: TensorFlowEngine, tiny_model: TinyModel, tmp_path: Path
) -> None:
    request = NetworkRequest("tiny", "float32", "litert", model_file=str(tiny_model.path))
    build_network(request, tmp_path)
    some = images(19)
    classes, scores = engine.top_k(some)
    others, values = LiteRTEngine(str(tmp_path / "network.tflite"), 2, threads=2).top_k(some)
    np.testing.assert_array_equal(classes, others)
    np.testing.assert_allclose(scores, values, atol=1e-6)
