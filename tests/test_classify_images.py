"""Batches in, rows in the making out."""

import subprocess
import sys
import threading
from collections.abc import Sequence

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.internal import pickler
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline as Pipeline
from apache_beam.testing.util import assert_that, equal_to
from numpy.typing import NDArray

from tests.helpers.model_fixtures import ROOT, TinyModel
from transforms import __version__
from transforms.classify_images import (
    BatchClassifier,
    ClassifyImages,
    GatherBatches,
    classify_images,
)
from transforms.engines import best_first
from transforms.engines.sharing import SharedEngine
from transforms.failures import Failure
from transforms.models.artifact import MADE_BY, Artifact, NetworkRequest, network_for
from transforms.models.labels import Label
from transforms.records import (
    Chunk,
    ClassifiedImage,
    DecodedImage,
    ListedImage,
    Pixels,
    Prediction,
    Slot,
)

EMPTY = Failure("empty", "read", "no bytes")
ARTIFACT = Artifact("", "litert", "mean", 2, ())


class MeanEngine:
    """Scores class 1 by the mean of the pixels, class 0 by the rest; counts its batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def top_k(self, images: Sequence[Pixels]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        self.batches.append(len(images))
        bright = np.array([image.mean() / 255 for image in images], np.float32)
        return best_first(np.stack([1 - bright, bright], axis=1), 1)


def decoded(uri: str, value: int | None) -> DecodedImage:
    slot = Slot("0", 3, ListedImage(uri))
    if value is None:
        return DecodedImage(slot, None, None, None, None, EMPTY)
    return DecodedImage(slot, np.full((2, 2, 3), value, np.uint8), 2, 2, "PNG", None)


def test_failed_images_pass_through_in_their_place() -> None:
    engine = MeanEngine()
    rows = classify_images([decoded("a", 255), decoded("b", None), decoded("c", 0)], engine)
    assert [row.slot.image.uri for row in rows] == ["a", "b", "c"]
    assert [row.top_k for row in rows] == [(Prediction(1, 1.0),), (), (Prediction(0, 1.0),)]
    assert [row.failure for row in rows] == [None, EMPTY, None]
    assert engine.batches == [2]


def test_a_batch_without_an_image_never_reaches_the_engine() -> None:
    engine = MeanEngine()
    rows = classify_images([decoded("b", None)], engine)
    assert [row.failure for row in rows] == [EMPTY]
    assert engine.batches == []


def test_scores_that_are_not_finite_cost_only_their_image() -> None:
    class Poisoned(MeanEngine):
        def top_k(self, images: Sequence[Pixels]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
            classes, scores = super().top_k(images)
            scores[0] = np.nan
            return classes, scores

    rows = classify_images([decoded("a", 255), decoded("c", 0)], Poisoned())
    assert rows[0].failure is not None
    assert (rows[0].failure.error, rows[0].failure.stage) == ("not_finite", "classify")
    assert rows[0].top_k == ()
    assert rows[1].failure is None


class Choking(MeanEngine):
    """Fails, as `error`, on every batch with an image of the value 13."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def top_k(self, images: Sequence[Pixels]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        found = super().top_k(images)
        if any(image[0, 0, 0] == 13 for image in images):
            raise self.error
        return found


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (RuntimeError("bad node"), "inference_failed", "the engine failed: RuntimeError: bad node"),
        (MemoryError("OOM"), "out_of_memory", "no memory is left to classify one image: OOM"),
    ],
)
def test_a_poisonous_image_costs_only_itself(error: Exception, reason: str, message: str) -> None:
    engine = Choking(error)
    values = [255, 255, 13, 0, 255, 0, 0]
    rows = classify_images([decoded(str(i), value) for i, value in enumerate(values)], engine)
    assert [row.failure for row in rows if row.failure] == [Failure(reason, "classify", message)]
    assert rows[2].failure is not None
    assert rows[2].failure.retryable
    classes = [row.top_k[0].class_index for row in rows if row.top_k]
    assert classes == [1, 1, 0, 1, 0, 0]
    assert engine.batches[-1] == 4  # halved: the good half stays whole


def test_an_engine_that_fails_on_a_blank_image_too_ends_the_run() -> None:
    class Broken(MeanEngine):
        def top_k(self, images: Sequence[Pixels]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
            raise RuntimeError("no kernel image is available")

    with pytest.raises(RuntimeError, match="no kernel image"):
        classify_images([decoded("a", 1), decoded("b", 2)], Broken())


def test_best_first_orders_equal_scores_by_index() -> None:
    scores = np.array([[0.1, 0.4, 0.4, 0.1]], np.float32)
    classes, values = best_first(scores, 3)
    assert classes.tolist() == [[1, 2, 0]]
    np.testing.assert_array_equal(values, np.array([[0.4, 0.4, 0.1]], np.float32))


@pytest.mark.parametrize("k", [1, 5, 40])
def test_best_first_is_a_stable_sort_cut_off(k: int) -> None:
    scores = np.random.default_rng(0).integers(0, 6, (200, 40)).astype(np.float32)
    scores[1, 3] = scores[2, :38] = scores[3] = np.nan
    scores[4] = 0
    classes, values = best_first(scores, k)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(classes, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(scores, expected, axis=1))


@pytest.mark.parametrize(
    ("chunks", "batches"),
    [
        ((), ()),
        ((2,), (2,)),
        ((3, 1, 2), (4, 2)),
        ((4, 4), (4, 4)),
        ((1, 9, 1), (4, 4, 3)),
    ],
)
def test_batches_are_full_but_for_the_last_of_a_bundle(
    chunks: tuple[int, ...], batches: tuple[int, ...]
) -> None:
    gather, images = GatherBatches(4), iter([decoded(str(n), n) for n in range(sum(chunks))])
    for _ in range(2):  # a bundle leaves nothing to the next
        gather.start_bundle()
        found = [c for n in chunks for c in gather.process(Chunk(next(images) for _ in range(n)))]
        found += [last.value for last in gather.finish_bundle()]
        assert tuple(len(batch) for chunk in found for batch in chunk) == batches
        uris = [image.slot.image.uri for chunk in found for batch in chunk for image in batch]
        assert uris == [str(n) for n in range(sum(chunks))]
        images = iter([decoded(str(n), n) for n in range(sum(chunks))])


# Of the module, since what a function of a graph closes over is copied.
_fourth_came, _second_batch_began = threading.Event(), threading.Event()
_waits: list[bool] = []


class Waiting(MeanEngine):
    """Does not answer before the fourth image has come."""

    def top_k(self, images: Sequence[Pixels]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        if images[0].mean() == 2:
            _second_batch_began.set()
        _waits.append(_fourth_came.wait(10))
        return super().top_k(images)


_siblings: list[object] = []


def _load_waiting(*arguments: object) -> SharedEngine:
    _siblings.append(arguments[-2])
    return SharedEngine(Waiting())


def _noted(images: Chunk) -> Chunk:
    if images[0].slot.image.uri == "3":
        _fourth_came.set()
    return images


def _written(rows: Chunk) -> list[str]:
    uris = [row.slot.image.uri for row in rows]
    if "0" in uris:
        _waits.append(_second_batch_began.wait(10))
    return uris


def test_batches_are_gathered_and_rows_handed_on_while_the_engine_is_at_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("transforms.classify_images.shared_engine", _load_waiting)
    images = [Chunk([decoded(str(n), n)]) for n in range(6)]
    _fourth_came.clear()
    _second_batch_began.clear()
    _waits.clear()
    with Pipeline(runner=FnApiRunner()) as p:
        coming = p | beam.Create(images, reshuffle=False) | beam.Map(_noted)
        rows = coming | ClassifyImages(ARTIFACT, top_k=1, batch_size=2)
        assert_that(rows | beam.Map(_written), equal_to([["0", "1"], ["2", "3"], ["4", "5"]]))
    assert _waits == [True] * 4


UNPICKLED_ELSEWHERE = """
import sys
import transforms
transforms.__version__ = sys.argv[1]
from apache_beam.internal import pickler
classifier = pickler.loads(sys.stdin.buffer.read())
try:
    classifier.load()
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("there", [__version__, "9.9.9"])
def test_a_worker_of_another_version_fails_before_its_first_image_and_names_both(
    there: str,
) -> None:
    artifact = Artifact("/gone.tflite", "litert", "mean", 2, ())
    done = subprocess.run(
        [sys.executable, "-c", UNPICKLED_ELSEWHERE, there],
        input=pickler.dumps(BatchClassifier(artifact, top_k=1, batch_size=2, siblings=False)),
        capture_output=True,
        cwd=ROOT,
    )
    said = done.stdout.decode()
    if there == __version__:
        assert said.startswith("ValueError Could not open '/gone.tflite'")
        return
    assert said == (
        f"RuntimeError the run was launched by {MADE_BY}, but this worker has "
        f"{MADE_BY.replace(__version__, there)}; install the launcher's version on the workers\n"
    )


@pytest.mark.parametrize("siblings", [False, True])
def test_the_engine_is_chosen_knowing_of_sibling_processes(
    siblings: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.classify_images.shared_engine", _load_waiting)
    _fourth_came.set()
    _siblings.clear()
    with Pipeline(runner=FnApiRunner()) as p:
        images = p | beam.Create([Chunk([decoded("a", 9)])])
        rows = images | ClassifyImages(ARTIFACT, 1, 2, siblings) | beam.FlatMap(list)
        assert_that(rows | beam.Map(lambda row: row.slot.image.uri), equal_to(["a"]))
    assert _siblings == [siblings]


def test_the_transform_classifies_every_element(tiny_model: TinyModel, own_caches: None) -> None:
    request = NetworkRequest("tiny", "float32", "litert", model_file=str(tiny_model.path))
    network = network_for(request, lambda _: None)
    labels = tuple(Label(i, None, str(i)) for i in range(4))
    artifact = Artifact(network.path, "litert", "tiny", network.image_size, labels)
    pixels = np.zeros((32, 32, 3), np.uint8)
    images = [
        DecodedImage(Slot("0", 5, ListedImage(str(n))), pixels, 32, 32, "PNG", None)
        for n in range(5)
    ]

    def facts(row: ClassifiedImage) -> tuple[str, int]:
        return row.slot.image.uri, len(row.top_k)

    with Pipeline(runner=FnApiRunner()) as p:
        rows = p | beam.Create([Chunk(images)]) | ClassifyImages(artifact, top_k=2, batch_size=2)
        assert_that(
            rows | beam.FlatMap(list) | beam.Map(facts), equal_to([(str(n), 2) for n in range(5)])
        )
