"""A user's own `.keras` file: loaded safely, its preprocessing found out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from transforms.models.errors import ModelError
from transforms.models.zoo import INSIDE_THE_NETWORK, MINUS_ONE_TO_ONE, Scaling

_SCALING_LAYERS = ("Rescaling", "Normalization")


def load_own_model(path: Path) -> Any:
    """The model of a .keras file; never runs code from the file.

    Raises:
        ModelError: it cannot be loaded safely, or is no classifier of square RGB images.
    """
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises almost anything on a file that is not its own
        first_line = str(error).strip().split("\n")[0]
        raise ModelError(f"--model {str(path)!r} cannot be loaded: {first_line}") from error
    shape = model.input_shape
    if not (isinstance(shape, tuple) and len(shape) == 4 and shape[3] == 3):
        raise ModelError(f"--model {str(path)!r} takes {shape}, not one batch of RGB images")
    if shape[1] is None or shape[1] != shape[2]:
        raise ModelError(
            f"--model {str(path)!r} takes images of {shape[1]} x {shape[2]}; "
            f"save it with a fixed square input, e.g. keras.Input((224, 224, 3))"
        )
    if not isinstance(model.output_shape, tuple) or len(model.output_shape) != 2:
        raise ModelError(
            f"--model {str(path)!r} gives {model.output_shape}, not one row of class scores"
        )
    return model


def scaling_of(model: Any) -> Scaling:
    """0..255 for a model that begins with its own scaling, else MobileNet's -1..1."""
    layers = _layers(model)
    first = [layer for layer, _ in zip(layers, range(4), strict=False)]
    own = any(layer.__class__.__name__ in _SCALING_LAYERS for layer in first)
    return INSIDE_THE_NETWORK if own else MINUS_ONE_TO_ONE


def wants_softmax(model: Any, scaling: Scaling) -> bool:
    """Whether the outputs are logits: on noise they are not positive with sum one."""
    noise = np.random.default_rng(0).uniform(0, 255, (4, *model.input_shape[1:]))
    outputs = np.asarray(model(noise * scaling.scale + scaling.offset, training=False))
    return bool(outputs.min() < 0 or np.abs(outputs.sum(axis=1) - 1).max() > 1e-2)


def _layers(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer
