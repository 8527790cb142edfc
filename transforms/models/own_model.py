"""A user's own `.keras` file: loaded safely, its preprocessing and its outputs found out."""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import keras

from transforms.models.errors import ModelError
from transforms.models.outputs import Outputs, outputs_of
from transforms.models.zoo import SCALINGS, Scaling

# What a model may do to pixels itself; `preprocess_input` becomes a division and a subtraction.
_SCALING: Final = (
    *("Rescaling", "Normalization"),
    *("TrueDivide", "Divide", "Multiply", "Subtract", "Add"),
)
_HALF_PRECISION: Final = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
_UNKNOWN_CLASS: Final = re.compile(r"Could not locate class '([^']+)'")
_MOST_CHARACTERS: Final = 200  # of what Keras or the converter raise


class PixelScaling(NamedTuple):
    """What was decided on the inputs of a model, and why."""

    name: str  # a key of `SCALINGS`
    why: str

    @property
    def scaling(self) -> Scaling:
        """What is done to pixels 0..255."""
        return SCALINGS[self.name]

    def note(self) -> str:
        """A sentence for whoever uses the model."""
        done = "left at 0..255" if self.name == "0..255" else f"scaled to {self.name}"
        return f"pixels {done}: {self.why}"


class OwnModel(NamedTuple):
    """A Keras model in float32, and what was decided on it."""

    model: Any
    pixels: PixelScaling
    outputs: Outputs

    @property
    def notes(self) -> tuple[str, str]:
        """A sentence for each decision."""
        return self.pixels.note(), self.outputs.note()


def read_own_model(path: Path, scaling: str, outputs: str) -> OwnModel:
    """The model of a .keras file, its inputs and outputs as declared or, for "auto", found out.

    Raises:
        ModelError: it cannot be loaded safely, or is no classifier of square RGB images.
    """
    name = f"--model {str(path)!r}"
    model = _load(path, name)
    try:
        _check_shapes(model, name)
        pixels = scaling_of(model, scaling)
        return OwnModel(model, pixels, outputs_of(model, pixels.scaling, outputs))
    except ModelError:
        raise
    except Exception as error:  # whatever the layers of a model raise
        raise ModelError(f"{name} cannot be used: {one_line(str(error))}") from error


def one_line(text: str) -> str:
    """What Keras or TensorFlow raised, which may be hundreds of lines, as the start of a line."""
    # Keras tells the cause last, after the whole configuration of the model.
    line = " ".join(text.rpartition("Exception encountered: ")[2].split())
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}..."


def scaling_of(model: Any, declared: str) -> PixelScaling:
    """How pixels become the inputs of `model`: as declared, or for "auto" found out.

    Then it is 0..255 for a model that does arithmetic on them before its first layer with weights,
    or takes whole numbers, else MobileNet's -1..1.
    """
    if declared in SCALINGS:
        return PixelScaling(declared, "as --scaling says")
    name, why = _scaling_found(model)
    return PixelScaling(name, f"{why}; --scaling changes that")


def class_count(model: Any) -> int:
    """Classes of `model`: one score decides between two, as Keras' binary labels have it."""
    return max(int(model.output_shape[-1]), 2)


def _load(path: Path, name: str) -> Any:
    """The model, computing in float32 where it was saved to compute in 16 bits."""
    if not zipfile.is_zipfile(path):
        raise ModelError(
            f"{name} cannot be loaded: it is no .keras file; make one with model.save('mine.keras')"
        )
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
        saved = model.to_json()
        config = json.loads(saved, object_hook=_in_float32)
        if config == json.loads(saved):
            return model
        same = keras.models.model_from_json(json.dumps(config))
        same.load_weights(path)
        return same
    except Exception as error:  # Keras raises almost anything on a file that is not its own
        raise ModelError(f"{name} cannot be loaded: {_loading_error(error)}") from error


def _in_float32(config: dict[str, Any]) -> dict[str, Any]:
    """One object of a model's JSON: a dtype or the name or source of a policy becomes float32.

    Mixed precision keeps its weights in float32, and those of 16 bits are exact in it.
    """
    return {
        key: "float32"
        if value in _HALF_PRECISION and (key in ("dtype", "source_name") or [*config] == ["name"])
        else value
        for key, value in config.items()
    }


def _loading_error(error: Exception) -> str:
    text = str(error)
    if "`Lambda`" in text:
        return (
            "it has a Lambda layer, and Python code in a model file is never run; say the same "
            "with a layer of Keras, such as Rescaling(1 / 127.5, -1), and save it again"
        )
    if unknown := _UNKNOWN_CLASS.search(text):
        return (
            f"the code of its class {unknown[1]!r} is not in the file; build it from layers of "
            "Keras and save it again"
        )
    return one_line(text)


def _scaling_found(model: Any) -> tuple[str, str]:
    if "float" not in model.inputs[0].dtype:
        return "0..255", f"the model takes {model.inputs[0].dtype}"
    before = ""
    for operation in _operations(model):
        kind = operation.__class__.__name__
        if kind in _SCALING:
            return "0..255", f"the model scales them itself, in {operation.name!r} ({kind})"
        if getattr(operation, "weights", None) and not kind.startswith("Random"):
            before = f" before {operation.name!r} ({kind})"
            break
    return "-1..1", f"the model has no layer that scales{before}"


def _check_shapes(model: Any, name: str) -> None:
    shape = model.input_shape
    if not (isinstance(shape, tuple) and len(shape) == 4 and shape[3] == 3):
        raise ModelError(f"{name} takes {shape}, not one batch of RGB images")
    if shape[1] is None or shape[1] != shape[2]:
        raise ModelError(
            f"{name} takes images of {shape[1]} x {shape[2]}; "
            f"save it with a fixed square input, e.g. keras.Input((224, 224, 3))"
        )
    outputs = model.output_shape
    if isinstance(getattr(model, "output", None), dict):
        outputs = "a dictionary"
    if not isinstance(outputs, tuple) or len(outputs) != 2 or outputs[1] is None:
        raise ModelError(f"{name} gives {outputs}, not one row of class scores")


def _operations(model: Any) -> Iterator[Any]:
    """Layers and the arithmetic between them, nested models unfolded, in order."""
    for operation in getattr(model, "operations", None) or model.layers:
        if isinstance(operation, keras.Model):
            yield from _operations(operation)
        else:
            yield operation
