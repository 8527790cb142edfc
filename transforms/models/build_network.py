"""Builds the network that an engine runs: `python -m transforms.models.build_network`.

Around the Keras model go the scaling of uint8 pixels and, where it lacks one, a softmax, so that
a worker needs to know nothing about either.
"""

import json
import re
import sys
import tempfile
import traceback
import warnings
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from transforms.engines import Resolved
from transforms.engines.litert_engine import LiteRTEngine
from transforms.models.artifact import MODEL_ERROR, MODEL_ERROR_FILE, NetworkRequest
from transforms.models.calibration import calibration
from transforms.models.errors import ModelError
from transforms.models.outputs import OutputKind
from transforms.models.own_model import one_line, read_own_model
from transforms.models.rounding import round_kernels
from transforms.models.weight_files import load_weights
from transforms.models.zoo import ARCHITECTURES, Scaling

_FILES: Final[dict[Resolved, str]] = {"litert": "network.tflite", "tensorflow": "saved_model"}
_MISSING: Final = re.compile(r"'tf\.(\w+)' op is neither a custom op nor a flex op")
_AFTER_ITS_PLACE: Final = re.compile(r"\]\)+: (.+)")  # what the converter says behind it
# How far LiteRT's probabilities may be from those of Keras, both computed in float32.
_TOLERANCE: Final = 0.01


class _Model(NamedTuple):
    """A Keras model, what it takes and what it gives."""

    model: Any
    scaling: Scaling
    outputs: OutputKind = "probabilities"
    is_multi_label: bool = False
    notes: tuple[str, ...] = ()


def build_network(request: NetworkRequest, folder: Path) -> None:
    """Writes the network of `request` and its network.json into `folder`.

    Raises:
        ModelError: the weights do not fit, the user's model is no image classifier, or LiteRT
            cannot run it.
    """
    source = _own_model(request) if request.model_file else _architecture(request)
    model, scaling, notes = source.model, source.scaling, source.notes
    size = int(model.input_shape[1])
    if request.precision == "int8":
        round_kernels(model, (p * scaling.scale + scaling.offset for p in calibration(size)))
    whole = _from_uint8(_in_precision(model, request.precision), scaling, source.outputs)
    engine = request.engine
    if engine == "litert":
        try:
            _write_litert(whole, request, folder / _FILES["litert"])
        except Exception as error:  # the converter raises many kinds for what it cannot do
            why = f"LiteRT cannot run it: {_refusal(error)}"
            if not request.or_tensorflow:
                name = request.model_file or request.name
                way_out = (
                    "use --engine auto" if request.precision == "float32" else "drop --precision"
                )
                raise ModelError(f"--model {name!r}: {why}; {way_out}") from error
            engine, notes = "tensorflow", (*notes, f"engine tensorflow: {why}")
    if engine == "tensorflow":
        _write_saved_model(whole, folder / _FILES["tensorflow"])
    facts = {
        "file": _FILES[engine],
        "engine": engine,
        "image_size": size,
        "classes": int(whole.output_shape[-1]),
        "scaling": scaling,
        "outputs": source.outputs,
        "is_multi_label": source.is_multi_label,
        "notes": notes,
    }
    (folder / "network.json").write_text(json.dumps(facts))


def _own_model(request: NetworkRequest) -> _Model:
    assert request.model_file is not None
    own = read_own_model(Path(request.model_file), request.scaling, request.outputs)
    outputs = own.outputs
    return _Model(own.model, own.pixels.scaling, outputs.kind, outputs.is_multi_label, own.notes)


def _architecture(request: NetworkRequest) -> _Model:
    entry = ARCHITECTURES[request.name]
    assert request.image_size is not None, "only a .keras file says its own size"
    model = entry.build(request.alpha, request.image_size, request.classes)
    if request.weights_file and entry.packaged_weights is None:
        load_weights(model, Path(request.weights_file), request.weights_name)
    return _Model(model, entry.scaling)


def _in_precision(model: Any, precision: str) -> Any:
    """The model computing in float16 or bfloat16, its weights and outputs still float32."""
    if precision not in ("float16", "bfloat16"):
        return model
    policy = f"mixed_{precision}"

    def with_policy(layer: Any) -> Any:
        changed = {"dtype": policy} if layer.dtype_policy.name == "float32" else {}
        return layer.__class__.from_config(layer.get_config() | changed)

    cast = keras.models.clone_model(model, clone_function=with_policy, recursive=True)
    with tempfile.TemporaryDirectory() as scratch:
        # Through a file, since some layers, such as Normalization, compute with what they derive
        # from their weights when these are loaded, and not when they are set.
        weights = f"{scratch}/model.weights.h5"
        model.save_weights(weights)
        cast.load_weights(weights)
    return cast


def _from_uint8(model: Any, scaling: Scaling, kind: OutputKind) -> Any:
    """[n, size, size, 3] uint8 pixels to [n, classes] float32 probabilities.

    A single output is the probability of the second of two classes.
    """
    pixels = keras.Input(model.input_shape[1:], dtype="uint8", name="pixels")
    scaled = keras.layers.Rescaling(scaling.scale, scaling.offset, dtype="float32")(pixels)
    outputs = keras.layers.Activation("linear", dtype="float32")(model(scaled, training=False))
    is_binary = model.output_shape[-1] == 1
    if kind == "logits":
        activation = "sigmoid" if is_binary else "softmax"
        outputs = keras.layers.Activation(activation, dtype="float32")(outputs)
    if is_binary:
        rest = keras.layers.Rescaling(-1.0, 1.0, dtype="float32")(outputs)
        outputs = keras.layers.Concatenate(dtype="float32")([rest, outputs])
    return keras.Model(pixels, outputs)


def _write_saved_model(model: Any, folder: Path) -> None:
    archive = keras.export.ExportArchive()
    archive.track(model)
    signature = [keras.InputSpec(shape=(None, *model.input_shape[1:]), dtype="uint8")]
    archive.add_endpoint("serve", model.call, input_signature=signature)
    archive.write_out(str(folder), verbose=False)


def _write_litert(whole: Any, request: NetworkRequest, path: Path) -> None:
    """Writes the .tflite file, and for a model of the user's own tries what it answers.

    Raises:
        Exception: it cannot be converted or run, or answers something else than Keras.
    """
    size = int(whole.input_shape[1])
    path.write_bytes(_to_litert(whole, request.precision, size))
    if not request.model_file:
        return
    pictures = np.concatenate([*islice(calibration(size), 0, None, 8)])
    classes, found = LiteRTEngine(str(path), int(whole.output_shape[1]), 1).top_k([*pictures])
    if request.precision == "float32":
        answers = np.asarray(whole(pictures, training=False))
        difference = np.abs(found - np.take_along_axis(answers, classes, axis=1)).max()
        if not difference <= _TOLERANCE:
            raise ValueError(f"its scores differ from those of Keras by up to {difference:.2g}")


def _refusal(error: Exception) -> str:
    """What the converter cannot do, without where in the graph it is."""
    if missing := sorted(set(_MISSING.findall(str(error)))):
        return f"it has no {', '.join(missing)}"
    said = _AFTER_ITS_PLACE.search(str(error))
    return one_line(said[1] if said else str(error))


def _to_litert(model: Any, precision: str, size: int) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if precision != "int8":
        return bytes(converter.convert())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([p] for p in calibration(size))
    # Scores of 8 bits would be multiples of 1/256, and most of a top-5 equal; the softmax of a
    # thousand logits in float costs nothing.
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=["SOFTMAX"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it opens an interpreter that is deprecated
        selective = tf.lite.experimental.QuantizationDebugger(
            converter=converter,
            debug_dataset=converter.representative_dataset,
            debug_options=options,
        )
        return bytes(selective.get_nondebug_quantized_model())


def main() -> None:
    """Reads a request and a folder from the command line."""
    request, folder = NetworkRequest(**json.loads(sys.argv[1])), Path(sys.argv[2])
    keras.utils.set_random_seed(0)
    try:
        build_network(request, folder)
    except ModelError as error:
        (folder / MODEL_ERROR_FILE).write_text(str(error))
        sys.exit(MODEL_ERROR)
    except Exception as error:
        traceback.print_exc()
        sys.exit(one_line(str(error)))  # the last line on standard error is for the user


if __name__ == "__main__":
    main()
