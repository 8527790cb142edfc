"""Models of one's own: refused or loaded, scaled once, their outputs made probabilities."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from keras import layers, ops

from pipeline.classify import main as classify
from pipeline.describe.__main__ import main as describe
from tests.end_to_end.test_run import rows_of, run_facts
from tests.helpers.model_fixtures import PHOTOS, Command, TinyModel, assert_tells_apart
from transforms.models.errors import ModelError
from transforms.models.own_model import PixelScaling, class_count, read_own_model, scaling_of
from transforms.models.zoo import MINUS_ONE_TO_ONE, Scaling

SIZE = 32
PHOTOGRAPHS = [PHOTOS / "cat.jpg", PHOTOS / "espresso.png", PHOTOS / "dahlia.jpg"]
preprocess_input = keras.applications.mobilenet_v2.preprocess_input
NOTHING_SCALES = "the model has no layer that scales before"


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
        (lambda x: x, NOTHING_SCALES),
        (augmented, NOTHING_SCALES),
        (layers.Rescaling(1 / 255, name="first"), "itself, in 'first' (Rescaling)"),
        (lambda x: layers.Rescaling(1 / 255, name="r")(augmented(x)), "itself, in 'r' (Rescaling)"),
        (lambda x: preprocess_input(augmented(x)), "(TrueDivide)"),
        (lambda x: x * (1 / 255.0), "(Multiply)"),
        (layers.Normalization(mean=[127.0] * 3, variance=[9.0] * 3), "(Normalization)"),
        (within(preprocess_input), "(TrueDivide)"),
        (keras.Sequential([layers.RandomFlip(), layers.Rescaling(1.0)]), "(Rescaling)"),
        (shifted_later, NOTHING_SCALES),
        (layers.BatchNormalization(name="first"), f"{NOTHING_SCALES} 'first' (BatchNormalization)"),
    ],
    ids=["nothing", "augmentation", "Rescaling", "Rescaling after augmentation"]
    + ["preprocess_input", "a product", "Normalization", "nested", "Sequential", "a later layer"]
    + ["BatchNormalization"],
)
def test_scaling_is_found_before_the_first_layer_with_weights_and_said(
    before: Callable[[Any], Any], expected: str
) -> None:
    model = network(before, [layers.Dense(4)])
    found = scaling_of(model, "auto")
    is_scaled = expected.startswith(NOTHING_SCALES)
    assert expected in found.why
    assert found.why.endswith("; --scaling changes that")
    assert found.name == ("-1..1" if is_scaled else "0..255")
    assert found.scaling == (Scaling(1 / 127.5, -1.0) if is_scaled else Scaling(1.0, 0.0))
    for declared, scaling in (("0..1", Scaling(1 / 255, 0.0)), ("-1..1", MINUS_ONE_TO_ONE)):
        assert scaling_of(model, declared) == PixelScaling(declared, "as --scaling says")
        assert scaling_of(model, declared).scaling == scaling


def test_a_model_that_takes_whole_numbers_gets_0_to_255(tmp_path: Path) -> None:
    image = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    x = layers.Conv2D(4, 3)(ops.cast(image, "float32"))
    model = keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    model.save(tmp_path / "bytes.keras")
    own = read_own_model(tmp_path / "bytes.keras", "auto", "auto")
    assert own.notes[0] == "pixels left at 0..255: the model takes uint8; --scaling changes that"


def test_one_score_decides_between_two_classes() -> None:
    assert class_count(network(lambda x: x, [layers.Dense(1)])) == 2
    assert class_count(network(lambda x: x, [layers.Dense(4)])) == 4


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_own_model(path, "auto", "auto")
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


def test_a_model_that_is_built_by_its_first_call_is_taken(tmp_path: Path) -> None:
    model = keras.Sequential([layers.Flatten(), layers.Dense(4, activation="softmax")])
    model(np.zeros((1, SIZE, SIZE, 3)))
    model.save(tmp_path / "m.keras")
    own = read_own_model(tmp_path / "m.keras", "auto", "auto")
    assert own.notes[1].startswith("outputs taken as probabilities: a softmax computes them")


@pytest.mark.filterwarnings("ignore:Skipping nested container")  # before Keras raises
@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"units": 4', '"units": 4, "gain": 3', "Unrecognized keyword arguments passed to Dense"),
        ('"units": 4', '"units": 5', "1 objects could not be loaded. Example error message for"),
        ('"softmax"', '"softmix"', "Could not interpret activation function identifier: softmix"),
        ('{"module"', '[{"module"', "Expecting ',' delimiter"),
    ],
)
def test_whatever_keras_finds_wrong_is_one_line(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    network(lambda x: x, [layers.Dense(4, activation="softmax")]).save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as good:
        parts = {name: good.read(name) for name in good.namelist()}
    config = parts["config.json"].decode()
    assert before in config
    with zipfile.ZipFile(tmp_path / "bad.keras", "w") as bad:
        for name, content in (parts | {"config.json": config.replace(before, after)}).items():
            bad.writestr(name, content)
    said = refusal(tmp_path / "bad.keras")
    assert message in said
    assert len(said) < 400


def test_outputs_must_be_one_row_of_scores(tmp_path: Path) -> None:
    image = keras.Input((SIZE, SIZE, 3))
    keras.Model(image, layers.Conv2D(4, 1)(image)).save(tmp_path / "m.keras")
    assert "gives (None, 32, 32, 4), not one row of class scores" in refusal(tmp_path / "m.keras")
    model = keras.Model(image, {"classes": layers.Dense(4)(layers.Flatten()(image))})
    model.save(tmp_path / "m.keras")
    assert "gives a dictionary, not one row of class scores" in refusal(tmp_path / "m.keras")


def pixels() -> Any:
    """[3, 32, 32, 3] float32, 0..255, as Keras loads the photographs."""
    return np.stack(
        [
            keras.utils.img_to_array(keras.utils.load_img(path, target_size=(SIZE, SIZE)))
            for path in PHOTOGRAPHS
        ]
    )


def spread(units: int, activation: str | None = None) -> Any:
    """A last layer whose scores differ from picture to picture."""
    kernel = keras.initializers.RandomNormal(stddev=4.0, seed=5)
    return layers.Dense(units, activation=activation, kernel_initializer=kernel)


def saved(model: Any, folder: Path, names: str) -> list[str]:
    """The options that choose `model`, whose classes have these names."""
    model.save(folder / "own.keras")
    (folder / "labels.txt").write_text("\n".join(names.split()))
    top_k = ["--top-k", str(len(names.split())), "--resize", "keras"]
    return ["--model", str(folder / "own.keras"), "--labels", str(folder / "labels.txt"), *top_k]


def assert_scores(rows: list[dict[str, Any]], expected: Any, names: str) -> None:
    """Compares the rows of the photographs with scores [n, classes]."""
    assert_tells_apart(expected)
    for row, scores in zip(rows, expected, strict=True):
        found = {best["class_index"]: best["score"] for best in row["top_k"]}
        np.testing.assert_allclose([found[i] for i in sorted(found)], scores, atol=1e-4)
        assert row["label"] == names.split()[int(scores.argmax())]


@pytest.mark.usefixtures("own_caches")
def test_classify_gives_the_scores_of_keras_and_says_what_was_found_out(tmp_path: Path) -> None:
    """A binary model with the last layer that Keras' guide to mixed precision asks for."""
    keras.utils.set_random_seed(2)
    head = [spread(1, "sigmoid"), layers.Activation("linear", dtype="float32")]
    model = network(lambda x: preprocess_input(augmented(x)), head)
    probability = model(pixels(), training=False).numpy()
    options = saved(model, tmp_path, "no yes")
    result = CliRunner().invoke(classify, [*map(str, PHOTOGRAPHS), *options, "--json"])
    assert result.exit_code == 0, result.stderr
    expected = np.concatenate([1 - probability, probability], axis=1)
    assert_scores(json.loads(result.stdout), expected, "no yes")
    pixel_note, output_note = result.stderr.splitlines()[-2:]
    assert pixel_note.startswith(
        "pixels left at 0..255: the model scales them itself, in 'true_div"
    )
    assert output_note == (
        "outputs taken as probabilities: a sigmoid computes them; --outputs changes that"
    )
    assert output_note in CliRunner().invoke(describe, options[:2]).stdout.splitlines()


def test_a_run_says_what_was_decided_and_so_does_each_row(run: Command, tmp_path: Path) -> None:
    keras.utils.set_random_seed(2)
    model = network(lambda x: x, [spread(3, "sigmoid"), layers.Reshape((3,))])
    expected = model(pixels() / 255, training=False).numpy()
    options = [*saved(model, tmp_path, "a b c"), "--scaling", "0..1"]
    for path in PHOTOGRAPHS:
        options += ["--input", str(path)]
    out = tmp_path / "out"
    done = run(*options, "--output", str(out))
    assert done.code == 0, done.err
    rows = rows_of(out)
    assert_scores(
        sorted(rows, key=lambda row: PHOTOGRAPHS.index(Path(row["uri"]))), expected, "a b c"
    )
    assert {row["model"].partition("@")[0] for row in rows} == {"own_multilabel"}
    notes = [
        "pixels scaled to 0..1: as --scaling says",
        "outputs taken as probabilities (multi-label: scores do not sum to 1): a sigmoid computes "
        "them; --outputs changes that",
    ]
    assert run_facts(out)["notes"] == notes
    assert done.out.splitlines()[2:4] == notes


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_a_model_that_no_engine_can_run_as_asked_for_is_one_line_and_exit_code_2(
    run: Command, tmp_path: Path
) -> None:
    model = network(lambda x: x, [layers.Dense(4)])
    model.quantize("int8")
    options = [*saved(model, tmp_path, "a b c d"), "--engine", "litert"]
    done = run("--input", str(PHOTOS), "--output", str(tmp_path / "out"), "--dry-run", *options)
    assert (done.code, done.out) == (2, "")
    building, error = done.err.splitlines()
    assert building == "building own for litert (once; some ten seconds)"
    assert error.startswith(f"error: --model '{tmp_path}/own.keras': LiteRT cannot run it: ")
    assert error.endswith("; use --engine auto")


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


@pytest.mark.parametrize("option", ["--scaling 0..1", "--outputs logits"])
def test_scaling_and_outputs_are_only_for_models_of_ones_own(option: str) -> None:
    options = [str(PHOTOGRAPHS[0]), "--model", "efficientnet_lite0", *option.split()]
    result = CliRunner().invoke(classify, options)
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: {option} is for a .keras file of your own: efficientnet_lite0 has its own; "
        "drop it\n"
    )
