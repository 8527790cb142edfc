"""The two nearest peers, each the way its own documentation shows.

`python -m tests.benchmark.peers NAME IMAGES WEIGHTS OUTPUT` classifies every image of a folder with
MobileNet v1 1.0/224 and prints the seconds from the first look at the folder to the last result.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

BATCH_SIZE = 32
_SIZE = (224, 224)


def keras_predict(images: str, weights: str, output: str) -> None:
    """`image_dataset_from_directory` and `predict`, decoding in parallel as Keras does."""
    import keras

    model = keras.applications.MobileNet(weights=None)
    model.load_weights(weights)
    files = keras.utils.image_dataset_from_directory(
        images, labels=None, image_size=_SIZE, batch_size=BATCH_SIZE, shuffle=False, verbose=False
    )
    scaled = files.map(keras.applications.mobilenet.preprocess_input).prefetch(2)
    model.predict(scaled, verbose=0)


def stock_run_inference(images: str, weights: str, output: str) -> None:
    """Beam's `RunInference` with Beam's own Keras handler, on the in-process runner."""
    import apache_beam as beam
    import keras
    import numpy as np
    import pyarrow as pa
    from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
    from apache_beam.ml.inference.tensorflow_inference import ModelType, TFModelHandlerNumpy
    from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

    def create_model() -> Any:
        return keras.applications.MobileNet(weights=None)

    def load(path: str) -> tuple[str, Any]:
        pixels = keras.utils.img_to_array(keras.utils.load_img(path, target_size=_SIZE))
        return path, keras.applications.mobilenet.preprocess_input(pixels)

    def best(result: tuple[str, Any]) -> dict[str, Any]:
        path, prediction = result
        scores = np.asarray(prediction.inference)
        return {"uri": path, "class_index": int(scores.argmax()), "score": float(scores.max())}

    handler = TFModelHandlerNumpy(
        weights,
        ModelType.SAVED_WEIGHTS,
        create_model_fn=create_model,
    )
    schema = pa.schema([("uri", pa.string()), ("class_index", pa.int32()), ("score", pa.float32())])
    with beam.Pipeline(runner=FnApiRunner()) as p:
        _ = (
            p
            | beam.Create([str(path) for path in sorted(Path(images).iterdir())])
            | beam.Reshuffle()
            | beam.Map(load)
            | RunInference(KeyedModelHandler(handler))
            | beam.Map(best)
            | beam.io.WriteToParquet(output, schema)
        )


PEERS = {"keras": keras_predict, "stock": stock_run_inference}


def main() -> None:
    """Runs one peer; its libraries are imported before the clock starts."""
    name, images, weights, output = sys.argv[1:]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    if name == "stock":
        import apache_beam.ml.inference.tensorflow_inference

        del apache_beam
    del keras
    started = time.monotonic()
    PEERS[name](images, weights, output)
    print(f"seconds {time.monotonic() - started:.3f}")


if __name__ == "__main__":
    main()
