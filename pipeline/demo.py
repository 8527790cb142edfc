"""`python -m pipeline.demo`: classifies the photographs that come with the repository."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

from pipeline.options import NetworkOptions
from transforms.choices import DEFAULT_ALPHA, DEFAULT_IMAGE_SIZE
from transforms.models.errors import ModelError
from transforms.models.weights import published_weights
from transforms.models.zoo import architecture

PHOTOS = Path("tests/data/photos")
OUTPUT = Path("build/demo")
_OFFLINE_MODEL = "efficientnet_lite0"


def main() -> None:
    """Runs the real command, then prints the top-1 of each photograph."""
    if not PHOTOS.is_dir():
        sys.exit(f"error: {PHOTOS} is not here; run this in the root of the repository")
    shutil.rmtree(OUTPUT, ignore_errors=True)
    command = [sys.executable, "-m", "pipeline.run", "--runner=DirectRunner"]
    command += ["--input", f"{PHOTOS}/", "--output", f"{OUTPUT}/", "--model", choose_model()]
    print("$ python", *command[1:], flush=True)
    subprocess.run(command, check=True)
    print()
    for row in predictions(OUTPUT):
        name = row["uri"].rsplit("/", 1)[-1]
        print(f"{name:20} {row['label'] or row['error']:28} {row['score'] or 0:6.1%}")


def choose_model() -> str:
    """MobileNet if its weights are here or can be fetched, else the model of the package."""
    model = NetworkOptions.model
    try:
        weights = architecture(model).published(DEFAULT_ALPHA, DEFAULT_IMAGE_SIZE)
        published_weights(weights, say=print)
    except ModelError:
        print(f"{model}'s weights are not here and can't be fetched: using {_OFFLINE_MODEL}")
        return _OFFLINE_MODEL
    return model


def predictions(output: Path) -> list[dict[str, Any]]:
    """Rows of `output`, by name."""
    columns = ["uri", "label", "score", "error"]
    table = ds.dataset(output / "predictions", format="parquet").to_table(columns)
    return table.sort_by("uri").to_pylist()


if __name__ == "__main__":
    main()
