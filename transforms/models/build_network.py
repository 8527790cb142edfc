"""Builds the network that an engine runs: `python -m transforms.models.build_network`.

Around the Keras model go the scaling of uint8 pixels and, where it lacks one, a softmax, so that
a worker needs to know nothing about either.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from transforms.models.artifact import MODEL_ERROR, MODEL_ERROR_FILE, NetworkRequest
from transforms.models.calibration import calibration
from transforms.models.errors import ModelError
from transforms.models.own_model import Outputs, load_own_model, outputs_of, scaling_of
from transforms.models.rounding import round_kernels
from transforms.models.weight_files import load_weights
from transforms.models.zoo import ARCHITECTURES, Scaling


def build_network(request: NetworkRequest, folder: Path) -> None:
    """Writes the network of `request` and its network.json into `folder`.

    Raises:
        ModelError: the weights do not fit, or the user's model is no image classifier.
    """
    outputs: Outputs
    if request.model_file:
        model = load_own_model(Path(request.model_file))
        scaling = scaling_of(model, request.scaling)
        outputs = outputs_of(model, scaling)
    else:
        entry = ARCHITECTURES[request.name]
        assert request.image_size is not None, "only a .keras file says its own size"
        model = entry.build(request.alpha, request.image_size, request.classes)
        if request.weights_file and entry.packaged_weights is None:
            load_weights(model, Path(request.weights_file), request.weights_name)
        scaling, outputs = entry.scaling, "probabilities"
    size = int(model.input_shape[1])
    if request.precision == "int8":
        round_kernels(model, (p * scaling.scale + scaling.offset for p in calibration(size)))
    whole = _from_uint8(_in_precision(model, request.precision), scaling, outputs)
    if request.engine == "litert":
        file = "network.tflite"
        (folder / file).write_bytes(_to_litert(whole, request.precision, size))
    else:
        file = "saved_model"
        _to_saved_model(whole, folder / file)
    facts = {"file": file, "image_size": size, "classes": int(whole.output_shape[-1])}
    (folder / "network.json").write_text(json.dumps(facts))


def _in_precision(model: Any, precision: str) -> Any:
    """The model computing in float16 or bfloat16, its weights and outputs still float32."""
    if precision not in ("float16", "bfloat16"):
        return model
    policy = f"mixed_{precision}"

    def with_policy(layer: Any) -> Any:
        return layer.__class__.from_config({**layer.get_config(), "dtype": policy})

    cast = keras.models.clone_model(model, clone_function=with_policy, recursive=True)
    cast.set_weights(model.get_weights())
    return cast


def _from_uint8(model: Any, scaling: Scaling, kind: Outputs) -> Any:
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


def _to_saved_model(model: Any, folder: Path) -> None:
    archive = keras.export.ExportArchive()
    archive.track(model)
    signature = [keras.InputSpec(shape=(None, *model.input_shape[1:]), dtype="uint8")]
    archive.add_endpoint("serve", model.call, input_signature=signature)
    archive.write_out(str(folder), verbose=False)


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


if __name__ == "__main__":
    main()
