"""Loads a weight file into a model, saying which layer differs when it does not fit."""

import zipfile
from pathlib import Path
from typing import Any

import h5py

from transforms.models.errors import ModelError

Shapes = list[tuple[str, list[tuple[int, ...]]]]


def load_weights(model: Any, path: Path, name: str) -> None:
    """Fills `model` from `path`, which the user calls `name`.

    Raises:
        ModelError: it is no weight file, or not of this network; names the first layer that
            differs.
    """
    if not h5py.is_hdf5(path) and not zipfile.is_zipfile(path):
        raise ModelError(f"--weights {name!r} is not a Keras weight file (.h5 or .weights.h5)")
    if h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            found = _file_shapes(root) if "layer_names" in root.attrs else None
        if found is not None:
            difference = _first_difference(_model_shapes(model), found)
            if difference:
                raise ModelError(f"--weights {name!r} is not of this network: {difference}")
    try:
        model.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        raise ModelError(f"--weights {name!r} is not of this network: {error}") from error


def _file_shapes(root: Any) -> Shapes:
    """Layer names and weight shapes of a file in Keras' published (legacy HDF5) layout."""
    layers = []
    for raw in root.attrs["layer_names"]:
        layer = _text(raw)
        names = root[layer].attrs["weight_names"]
        shapes = [tuple(root[layer][_text(weight)].shape) for weight in names]
        if shapes:
            layers.append((layer, shapes))
    return layers


def _model_shapes(model: Any) -> Shapes:
    return [
        (layer.name, [tuple(weight.shape) for weight in layer.weights])
        for layer in model.layers
        if layer.weights
    ]


def _first_difference(expected: Shapes, found: Shapes) -> str | None:
    """Keras loads layers in order, so the first one with other shapes is where it breaks."""
    for (layer, shapes), (file_layer, file_shapes) in zip(expected, found, strict=False):
        if shapes != file_shapes:
            called = "" if layer == file_layer else f" (there called {file_layer!r})"
            return (
                f"layer {layer!r} has the shapes {shapes} but the file{called} {file_shapes}; "
                f"check --model, --alpha and the number of classes"
            )
    counts = f"{len(found)} layers with weights instead of {len(expected)}"
    if len(found) < len(expected):
        return f"it ends before layer {expected[len(found)][0]!r}, {counts}"
    if len(found) > len(expected):
        return f"it goes on with layer {found[len(expected)][0]!r}, {counts}"
    return None


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
