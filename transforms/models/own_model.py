"""A user's own `.keras` file: loaded safely, its preprocessing and its outputs found out."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import keras
import numpy as np

from transforms.models.errors import ModelError
from transforms.models.zoo import INSIDE_THE_NETWORK, MINUS_ONE_TO_ONE, SCALINGS, Scaling

# What a model may do to pixels itself; `preprocess_input` becomes a division and a subtraction.
_SCALING: Final = (
    *("Rescaling", "Normalization"),
    *("TrueDivide", "Divide", "Multiply", "Subtract", "Add"),
)
_UNKNOWN_CLASS: Final = re.compile(r"Could not locate class '([^']+)'")

Outputs = Literal["probabilities", "logits"]


def load_own_model(path: Path) -> Any:
    """The model of a .keras file; never runs code from the file.

    Raises:
        ModelError: it cannot be loaded safely, or is no classifier of square RGB images.
    """
    name = f"--model {str(path)!r}"
    if not zipfile.is_zipfile(path):
        raise ModelError(
            f"{name} cannot be loaded: it is no .keras file; make one with model.save('mine.keras')"
        )
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises almost anything on a file that is not its own
        raise ModelError(f"{name} cannot be loaded: {_loading_error(str(error))}") from error
    _check_shapes(model, name)
    return model


def scaling_of(model: Any, declared: str) -> Scaling:
    """How pixels become the inputs of `model`: as declared, or for "auto" found out.

    Then it is 0..255 for a model that does arithmetic on them before its first layer with weights,
    else MobileNet's -1..1.
    """
    if declared in SCALINGS:
        return SCALINGS[declared]
    for operation in _operations(model):
        kind = operation.__class__.__name__
        if kind in _SCALING:
            return INSIDE_THE_NETWORK
        if getattr(operation, "weights", None) and not kind.startswith("Random"):
            break
    return MINUS_ONE_TO_ONE


def outputs_of(model: Any, scaling: Scaling) -> Outputs:
    """Whether a softmax or a sigmoid is still to be applied to the outputs of `model`.

    Its last layer says so, or else its answers to noise do: probabilities are within 0..1, and
    sum up to one where there are several.
    """
    last = list(_operations(model))[-1]
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    if activation in ("softmax", "sigmoid") or last.__class__.__name__ == "Softmax":
        return "probabilities"
    if activation == "linear":
        return "logits"
    noise = np.random.default_rng(0).uniform(0, 255, (4, *model.input_shape[1:]))
    outputs = np.asarray(model(noise * scaling.scale + scaling.offset, training=False))
    sums = outputs.sum(axis=1) if outputs.shape[1] > 1 else np.ones(1)
    if outputs.min() < 0 or outputs.max() > 1 or np.abs(sums - 1).max() > 1e-2:
        return "logits"
    return "probabilities"


def class_count(model: Any) -> int:
    """Classes of `model`: one score decides between two, as Keras' binary labels have it."""
    return max(int(model.output_shape[-1]), 2)


def _loading_error(text: str) -> str:
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
    return text.strip().split("\n")[0]


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
    if not isinstance(outputs, tuple) or len(outputs) != 2 or outputs[1] is None:
        raise ModelError(f"{name} gives {outputs}, not one row of class scores")


def _operations(model: Any) -> Iterator[Any]:
    """Layers and the arithmetic between them, nested models unfolded, in order."""
    for operation in getattr(model, "operations", None) or model.layers:
        if isinstance(operation, keras.Model):
            yield from _operations(operation)
        else:
            yield operation
