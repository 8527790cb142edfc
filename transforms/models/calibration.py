"""Photographs for choosing int8 ranges, shipped so that a model has one fingerprint."""

from collections.abc import Iterator
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

_CROPS = 8


def calibration(image_size: int) -> Iterator[NDArray[np.uint8]]:
    """Seeded square crops of the photographs, each [1, image_size, image_size, 3] uint8."""
    from PIL import Image

    random = np.random.default_rng(0)
    folder = files("transforms.models") / "data" / "calibration"
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if not path.name.endswith(".jpg"):
            continue
        with path.open("rb") as file, Image.open(file) as picture:
            for _ in range(_CROPS):
                side = int(min(picture.size) * random.uniform(0.6, 1.0))
                left = int(random.integers(picture.width - side + 1))
                top = int(random.integers(picture.height - side + 1))
                crop = picture.resize(
                    (image_size, image_size),
                    Image.Resampling.BILINEAR,
                    box=(left, top, left + side, top + side),
                )
                if random.random() < 0.5:
                    crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
                yield np.asarray(crop)[np.newaxis]
