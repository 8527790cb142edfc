"""A tiny model, the shared real ones, and the command as a user runs it."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT / "tests" / "data" / "photos"
SHARED = ROOT.parent / "shared"
TINY_SIZE = 32
TINY_LABELS = ("stone", "cat", "dish", "tower")

needs_shared = pytest.mark.skipif(
    not (SHARED / "weights").is_dir(),
    reason="needs the real weights and photographs of ../shared, which are not in the repository",
)


def shared_weights(alpha: float) -> str:
    """Path of the real MobileNet v1 weights for an alpha of 0.25 or 0.75."""
    name = {0.25: "2_5", 0.75: "7_5"}[alpha]
    return str(SHARED / "weights" / f"mobilenet_{name}_224_tf.h5")


class TinyModel(NamedTuple):
    """A classifier of four classes that builds in a second."""

    path: Path
    labels: Path

    def options(self) -> list[str]:
        """The options that choose it."""
        return ["--model", str(self.path), "--labels", str(self.labels), "--top-k", "2"]


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Empty caches of weights and networks for the whole session, and no way to the internet."""
    folder = tmp_path_factory.mktemp("caches")
    return {
        "XDG_CACHE_HOME": str(folder / "cache"),
        "KERAS_HOME": str(folder / "keras"),
        "MOBILENET_WEIGHTS_URL": "http://127.0.0.1:9",
    }


@pytest.fixture
def own_caches(caches: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same caches for code that runs in this process."""
    for name, value in caches.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """Four classes by mean colour, random but fixed; takes pixels in -1..1 and gives logits."""
    import keras

    folder = tmp_path_factory.mktemp("tiny")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((TINY_SIZE, TINY_SIZE, 3)),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(len(TINY_LABELS)),
        ]
    )
    model.save(folder / "tiny.keras")
    (folder / "labels.txt").write_text("\n".join(TINY_LABELS) + "\n")
    tiny = TinyModel(folder / "tiny.keras", folder / "labels.txt")
    assert_tells_apart(tiny_probabilities(tiny, sorted(PHOTOS.iterdir())))
    return tiny


def without_notes(said: str) -> str:
    """What a command said on standard error, but not what it found out on a model of one's own."""
    notes = ("pixels scaled to ", "pixels left at ", "outputs taken as ")
    return "".join(line for line in said.splitlines(True) if not line.startswith(notes))


def assert_tells_apart(outputs: Any) -> None:
    """The answers [n, classes] to n pictures differ, else they say nothing about the pictures."""
    assert np.ptp(outputs, axis=0).max() > 0.01


def tiny_probabilities(tiny: TinyModel, paths: Sequence[Path]) -> Any:
    """[n, 4] float32 by Keras alone: `load_img`, scaling, softmax."""
    import keras

    model = keras.models.load_model(tiny.path)
    size = (TINY_SIZE, TINY_SIZE)
    pixels = [
        keras.utils.img_to_array(keras.utils.load_img(path, target_size=size)) for path in paths
    ]
    logits = model.predict(np.stack(pixels) / 127.5 - 1, verbose=0)
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


class Run(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Run]


@pytest.fixture(scope="session")
def run(caches: dict[str, str]) -> Command:
    """Runs `python -m MODULE ...` as a user would, from the repository's root."""

    def command(*options: str, module: str = "pipeline.run", cwd: Path = ROOT) -> Run:
        environment = os.environ | caches | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, *(["-m", module] if module else []), *options],
            capture_output=True,
            text=True,
            env=environment,
            cwd=cwd,
            timeout=300,
        )
        return Run(done.returncode, done.stdout, done.stderr)

    return command
