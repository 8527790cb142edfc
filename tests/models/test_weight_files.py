"""Weight files that fit, and those that do not."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from tests.helpers.model_fixtures import needs_shared, shared_weights
from transforms.models.errors import ModelError
from transforms.models.mobilenet import mobilenet_v1
from transforms.models.weight_files import load_weights


def small(alpha: float = 0.25, classes: int = 5) -> keras.Model:
    return mobilenet_v1(alpha=alpha, image_size=32, classes=classes)


def test_weights_saved_by_keras_come_back(tmp_path: Path) -> None:
    model, other = small(), small()
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    load_weights(other, path, str(path))
    for expected, found in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


@needs_shared
def test_a_published_file_for_another_alpha_names_the_first_layer_that_differs() -> None:
    with pytest.raises(ModelError) as caught:
        load_weights(small(alpha=0.5, classes=1000), Path(shared_weights(0.25)), "w.h5")
    assert str(caught.value) == (
        "--weights 'w.h5' is not of this network: layer 'conv1' has the shapes [(3, 3, 3, 16)] "
        "but the file [(3, 3, 3, 8)]; check --model, --alpha and the number of classes"
    )


@needs_shared
def test_a_published_file_for_other_classes_names_the_head() -> None:
    with pytest.raises(ModelError, match=r"layer 'conv_preds' has the shapes"):
        load_weights(small(), Path(shared_weights(0.25)), "w.h5")


@needs_shared
def test_a_file_that_ends_too_early_names_the_layer_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "short.h5"
    with h5py.File(shared_weights(0.25), "r") as whole, h5py.File(path, "w") as short:
        names = [name for name in whole.attrs["layer_names"] if name != "conv_preds"]
        for name in names:
            whole.copy(whole[name], short, name)
        short.attrs["layer_names"] = names
    with pytest.raises(ModelError, match="it ends before layer 'conv_preds'"):
        load_weights(small(classes=1000), path, "w.h5")


def test_something_else_is_no_weight_file(tmp_path: Path) -> None:
    path = tmp_path / "photo.h5"
    path.write_bytes(b"\xff\xd8\xff\xe0 not HDF5")
    with pytest.raises(ModelError, match=r"is not a Keras weight file"):
        load_weights(small(), path, "photo.h5")
