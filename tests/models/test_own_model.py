"""Models of one's own: refused or loaded, scaled once, their outputs made probabilities."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from keras import layers

from pipeline.classify import main as classify
from pipeline.describe.__main__ import main as describe
from tests.helpers.model_fixtures import PHOTOS, Command, TinyModel, assert_tells_apart
from transforms.models.errors import ModelError
from transforms.models.own_model import class_count, load_own_model, outputs_of, scaling_of
from transforms.models.zoo import INSIDE_THE_NETWORK, MINUS_ONE_TO_ONE, SCALINGS, Scaling

SIZE = 32
PHOTOGRAPHS = [PHOTOS / "cat.jpg", PHOTOS / "espresso.png", PHOTOS / "dahlia.jpg"]
preprocess_input = keras.applications.mobilenet_v2.preprocess_input


def network(before: Callable[[Any], Any], head: list[Any]) -> Any:
    """A convolution between what comes `before` it and the `head`."""
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(before(image))
    x = layers.GlobalAveragePooling2D()(x)
    for layer in head:
        x = layer(x)
    return keras.Model(image, x)


def augmented(x: Any) -> Any:
    for layer in (
        layers.RandomFlip(),
        layers.RandomRotation(0.1),
        layers.RandomZoom(0.1),
        layers.RandomContrast(0.1),
    ):
        x = layer(x)
    return x


def within(inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same in a model of its own."""

    def nested(x: Any) -> Any:
        image = keras.Input((SIZE, SIZE, 3))
        return keras.Model(image, inner(image))(x)

    return nested


def shifted_later(x: Any) -> Any:
    return layers.Rescaling(2.0)(layers.Conv2D(3, 1)(x))


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (lambda x: x, MINUS_ONE_TO_ONE),
        (augmented, MINUS_ONE_TO_ONE),
        (layers.Rescaling(1 / 255), INSIDE_THE_NETWORK),
        (lambda x: layers.Rescaling(1 / 255)(augmented(x)), INSIDE_THE_NETWORK),
        (lambda x: preprocess_input(augmented(x)), INSIDE_THE_NETWORK),
        (lambda x: x * (1 / 255.0), INSIDE_THE_NETWORK),
        (layers.Normalization(mean=[127.0] * 3, variance=[9.0] * 3), INSIDE_THE_NETWORK),
        (within(preprocess_input), INSIDE_THE_NETWORK),
        (keras.Sequential([layers.RandomFlip(), layers.Rescaling(1.0)]), INSIDE_THE_NETWORK),
        (shifted_later, MINUS_ONE_TO_ONE),
    ],
    ids=["nothing", "augmentation", "Rescaling", "Rescaling after augmentation"]
    + ["preprocess_input", "a product", "Normalization", "nested", "Sequential", "a later layer"],
)
def test_scaling_is_found_before_the_first_layer_with_weights(
    before: Callable[[Any], Any], expected: Scaling
) -> None:
    model = network(before, [layers.Dense(4)])
    assert scaling_of(model, "auto") == expected
    assert scaling_of(model, "0..1") == SCALINGS["0..1"] == Scaling(1 / 255, 0.0)
    assert scaling_of(model, "-1..1") == MINUS_ONE_TO_ONE


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ([layers.Dense(4)], "logits"),
        ([layers.Dense(4, activation="softmax")], "probabilities"),
        ([layers.Dense(4), layers.Softmax()], "probabilities"),
        ([layers.Dense(4), layers.Activation("softmax")], "probabilities"),
        ([layers.Dense(4, activation="sigmoid")], "probabilities"),
        ([layers.Dense(4, activation="softmax"), layers.Reshape((4,))], "probabilities"),
        ([layers.Dense(4), layers.Reshape((4,))], "logits"),
        ([layers.Dense(1)], "logits"),
        ([layers.Dense(1, activation="sigmoid")], "probabilities"),
    ],
)
def test_outputs_are_known_by_the_last_activation_or_by_what_they_are(
    head: list[Any], expected: str
) -> None:
    keras.utils.set_random_seed(1)
    model = network(lambda x: x, head)
    assert outputs_of(model, MINUS_ONE_TO_ONE) == expected
    assert class_count(model) == (2 if model.output_shape[1] == 1 else 4)


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_own_model(path)
    message = str(caught.value)
    assert message.startswith(f"--model {str(path)!r} ")
    assert "\n" not in message
    return message


@pytest.fixture
def marking_model(tmp_path: Path) -> tuple[Path, Path]:
    """A .keras file whose Lambda layer makes a file when it is run, and that file."""
    marker = str(tmp_path / "marker")
    image = keras.Input((SIZE, SIZE, 3))
    mark = layers.Lambda(lambda x: (__import__("pathlib").Path(marker).touch(), x)[1])
    model = keras.Model(image, layers.Flatten()(mark(image)))
    model.save(tmp_path / "marks.keras")
    os.remove(marker)
    return tmp_path / "marks.keras", Path(marker)


def test_code_in_a_model_file_is_never_run(marking_model: tuple[Path, Path]) -> None:
    path, marker = marking_model
    assert "it has a Lambda layer, and Python code in a model file is never run" in refusal(path)
    for command, arguments in ((classify, [str(PHOTOGRAPHS[0]), "--top-k", "1"]), (describe, [])):
        labels = path.with_suffix(".txt")
        labels.write_text("a\n")
        options = [*arguments, "--model", str(path), "--labels", str(labels)]
        result = CliRunner().invoke(command, options)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Python code in a model file is never run" in result.stderr
    assert not marker.exists()
    keras.models.load_model(path, safe_mode=False)  # the file does what it is here for
    assert marker.exists()


class Doubling(layers.Layer):
    """A layer whose code no model file holds."""

    def call(self, x: Any) -> Any:
        return x * 2


def test_a_class_that_is_not_in_the_file_is_named(tmp_path: Path) -> None:
    network(Doubling(), [layers.Dense(4)]).save(tmp_path / "custom.keras")
    message = refusal(tmp_path / "custom.keras")
    assert "the code of its class 'Doubling' is not in the file" in message


def test_only_keras_files_are_taken(tmp_path: Path) -> None:
    (tmp_path / "text.keras").write_text("no model")
    assert "cannot be loaded: it is no .keras file; make one with model.save(" in refusal(
        tmp_path / "text.keras"
    )
    (tmp_path / "cut.keras").write_bytes(b"PK\x05\x06" + b"\0" * 18)  # an empty archive
    assert "cannot be loaded: " in refusal(tmp_path / "cut.keras")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((SIZE, SIZE, 1), "not one batch of RGB images"),
        ((SIZE, 48, 3), "takes images of 32 x 48; save it with a fixed square input"),
        ((None, None, 3), "takes images of None x None; save it with a fixed square input"),
    ],
)
def test_inputs_must_be_square_rgb_images(
    tmp_path: Path, shape: tuple[int | None, ...], message: str
) -> None:
    image = keras.Input(shape)
    keras.Model(image, layers.GlobalAveragePooling2D()(image)).save(tmp_path / "m.keras")
    assert message in refusal(tmp_path / "m.keras")


def test_outputs_must_be_one_row_of_scores(tmp_path: Path) -> None:
    image = keras.Input((SIZE, SIZE, 3))
    keras.Model(image, layers.Conv2D(4, 1)(image)).save(tmp_path / "m.keras")
    assert "gives (None, 32, 32, 4), not one row of class scores" in refusal(tmp_path / "m.keras")


def pixels() -> Any:
    """[3, 32, 32, 3] float32, 0..255, as Keras loads the photographs."""
    return np.stack(
        [
            keras.utils.img_to_array(keras.utils.load_img(path, target_size=(SIZE, SIZE)))
            for path in PHOTOGRAPHS
        ]
    )


@pytest.mark.usefixtures("own_caches")
@pytest.mark.parametrize("case", ["binary, preprocess_input inside", "0..1 declared, sigmoids"])
def test_scores_are_those_of_keras(tmp_path: Path, case: str) -> None:
    keras.utils.set_random_seed(2)
    if case.startswith("binary"):
        model = network(lambda x: preprocess_input(augmented(x)), [layers.Dense(1)])
        probability = keras.ops.sigmoid(model(pixels(), training=False)).numpy()
        expected = np.concatenate([1 - probability, probability], axis=1)
        names, options = "no\nyes\n", []
    else:
        model = network(lambda x: x, [layers.Dense(3, activation="sigmoid")])
        expected = model(pixels() / 255, training=False).numpy()
        names, options = "a\nb\nc\n", ["--scaling", "0..1"]
    assert_tells_apart(expected)
    model.save(tmp_path / "own.keras")
    (tmp_path / "labels.txt").write_text(names)
    options += ["--model", str(tmp_path / "own.keras"), "--labels", str(tmp_path / "labels.txt")]
    options += ["--top-k", str(len(expected[0])), "--resize", "keras", "--json"]
    result = CliRunner().invoke(classify, [*map(str, PHOTOGRAPHS), *options])
    assert result.exit_code == 0, result.stderr
    for row, scores in zip(json.loads(result.stdout), expected, strict=True):
        found = {best["class_index"]: best["score"] for best in row["top_k"]}
        np.testing.assert_allclose([found[i] for i in sorted(found)], scores, atol=1e-4)
        assert row["label"] == names.split()[int(scores.argmax())]


@pytest.mark.usefixtures("own_caches")
def test_labels_are_counted_in_every_command(tiny_model: TinyModel, tmp_path: Path) -> None:
    labels = tmp_path / "three.txt"
    labels.write_text("a\nb\nc\n")
    own = ["--model", str(tiny_model.path), "--labels", str(labels)]
    for command, arguments in (
        (classify, [str(PHOTOGRAPHS[0]), "--top-k", "1"]),
        (describe, []),
    ):
        result = CliRunner().invoke(command, [*arguments, *own])
        assert result.exit_code == 2
        assert "has 3 labels, but tiny has 4 classes; give one label for each" in result.stderr


def test_scaling_is_only_for_models_of_ones_own(run: Command) -> None:
    options = ("--model", "efficientnet_lite0", "--scaling", "0..1")
    done = run(str(PHOTOGRAPHS[0]), *options, module="pipeline.classify")
    assert done.code == 2
    assert done.err == (
        "error: --scaling 0..1 is for a .keras file of your own: efficientnet_lite0 has its own; "
        "drop it\n"
    )
