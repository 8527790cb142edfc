"""The networks that `--model` names: how each is built, fed and weighted."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from transforms.models.errors import ModelError, nearest

_KERAS_APPLICATIONS = "https://storage.googleapis.com/tensorflow/keras-applications"


class Scaling(NamedTuple):
    """Pixels 0..255 become `x * scale + offset` before the network's first layer."""

    scale: float
    offset: float


# mobilenet.preprocess_input: x / 127.5 - 1
MINUS_ONE_TO_ONE: Final = Scaling(1 / 127.5, -1.0)
# EfficientNet-Lite's own: (x - 127) / 128
EFFICIENTNET_LITE: Final = Scaling(1 / 128, -127 / 128)
# MobileNet v3 has a Rescaling layer of its own: scaling before it as well is a known mistake.
INSIDE_THE_NETWORK: Final = Scaling(1.0, 0.0)
# What --scaling says of a model of one's own; "auto" is none of these.
SCALINGS: Final = {
    "-1..1": MINUS_ONE_TO_ONE,
    "0..1": Scaling(1 / 255, 0.0),
    "0..255": INSIDE_THE_NETWORK,
}


Checksum = tuple[str, str]  # algorithm, hex digest


class PublishedWeights(NamedTuple):
    """A weight file by Keras, with its checksum where one is published or was computed."""

    file_name: str
    url: str
    checksum: Checksum | None


class Architecture(NamedTuple):
    """One value of `--model`."""

    name: str
    build: Callable[[float, int, int], Any]  # alpha, image size, classes -> keras.Model
    scaling: Scaling
    alphas: tuple[float, ...]  # with published weights
    image_sizes: tuple[int, ...]  # with published weights
    weights_file: Callable[[float, int], str] | None  # None: the weights are in the package
    weights_folder: str = ""
    packaged_weights: Path | None = None

    def check_published(self, alpha: float, image_size: int) -> None:
        """Raises ModelError if no weights are published for these; the message lists what is."""
        for option, value, published in (
            ("--alpha", alpha, self.alphas),
            ("--image-size", image_size, self.image_sizes),
        ):
            if value not in published:
                own = ", or give your own file with --weights PATH" if self.weights_file else ""
                raise ModelError(
                    f"{option} {value:g} has no published {self.name} weights; "
                    f"there are {_listed(published)}{own}"
                )

    def published(self, alpha: float, image_size: int) -> PublishedWeights:
        """The published weight file for these.

        Raises:
            ModelError: none is published for them.
        """
        self.check_published(alpha, image_size)
        assert self.weights_file is not None, f"the weights of {self.name} are in the package"
        file_name = self.weights_file(alpha, image_size)
        url = f"{_KERAS_APPLICATIONS}/{self.weights_folder}/{file_name}"
        return PublishedWeights(file_name, url, CHECKSUMS.get(file_name))


def architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        ModelError: there is none; the message names the nearest.
    """
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise ModelError(
            f"--model {name!r} is unknown{nearest(name, ARCHITECTURES)}; choose "
            f"{_listed(tuple(ARCHITECTURES))}, or the path of a .keras file"
        ) from None


def _mobilenet_v1(alpha: float, image_size: int, classes: int) -> Any:
    from transforms.models.mobilenet import mobilenet_v1

    return mobilenet_v1(alpha=alpha, image_size=image_size, classes=classes)


def _mobilenet_v2(alpha: float, image_size: int, classes: int) -> Any:
    import keras

    shape = (image_size, image_size, 3)
    return keras.applications.MobileNetV2(shape, alpha=alpha, weights=None, classes=classes)


def _mobilenet_v3_small(alpha: float, image_size: int, classes: int) -> Any:
    import keras

    shape = (image_size, image_size, 3)
    return keras.applications.MobileNetV3Small(shape, alpha=alpha, weights=None, classes=classes)


def _mobilenet_v3_large(alpha: float, image_size: int, classes: int) -> Any:
    import keras

    shape = (image_size, image_size, 3)
    return keras.applications.MobileNetV3Large(shape, alpha=alpha, weights=None, classes=classes)


def _efficientnet_lite0(alpha: float, image_size: int, classes: int) -> Any:
    from transforms.models.efficientnet_lite import efficientnet_lite0, load_packaged_weights

    model = efficientnet_lite0(classes=classes)
    load_packaged_weights(model)
    return model


def _listed(values: Sequence[object]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


# The published v1 files spell their alphas so: "7_5" is 0.75.
_V1_ALPHAS: Final = {0.25: "2_5", 0.5: "5_0", 0.75: "7_5", 1.0: "1_0"}

ARCHITECTURES: Final[dict[str, Architecture]] = {
    entry.name: entry
    for entry in (
        Architecture(
            "mobilenet",
            _mobilenet_v1,
            MINUS_ONE_TO_ONE,
            tuple(_V1_ALPHAS),
            (128, 160, 192, 224),
            lambda alpha, size: f"mobilenet_{_V1_ALPHAS[alpha]}_{size}_tf.h5",
            "mobilenet",
        ),
        Architecture(
            "mobilenet_v2",
            _mobilenet_v2,
            MINUS_ONE_TO_ONE,
            (0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
            (96, 128, 160, 192, 224),
            lambda alpha, size: (
                f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_{size}.h5"
            ),
            "mobilenet_v2",
        ),
        Architecture(
            "mobilenet_v3_small",
            _mobilenet_v3_small,
            INSIDE_THE_NETWORK,
            (0.75, 1.0),
            (224,),
            lambda alpha, size: f"weights_mobilenet_v3_small_224_{alpha}_float.h5",
            "mobilenet_v3",
        ),
        Architecture(
            "mobilenet_v3_large",
            _mobilenet_v3_large,
            INSIDE_THE_NETWORK,
            (0.75, 1.0),
            (224,),
            lambda alpha, size: f"weights_mobilenet_v3_large_224_{alpha}_float.h5",
            "mobilenet_v3",
        ),
        Architecture(
            "efficientnet_lite0",
            _efficientnet_lite0,
            EFFICIENTNET_LITE,
            (1.0,),
            (224,),
            None,
            packaged_weights=Path(__file__).parent / "data" / "efficientnet_lite0.npz",
        ),
    )
}

# Keras publishes MD5 sums, for v3 alone. Those of the two v1 files were computed from the files,
# and that of v2 is what two other projects pin the file by. Of the rest only the storage knows a
# sum, and states it with each download.
CHECKSUMS: Final[dict[str, Checksum]] = {
    "mobilenet_2_5_224_tf.h5": (
        "sha256",
        "6b0e5561e6611c6e88f014c3f698ee3ed80bc0a2ed74bc048173f6508afa53db",
    ),
    "mobilenet_7_5_224_tf.h5": (
        "sha256",
        "ae017216eca45c2af1679b5c242070ba0fd1bfc93a46d3090d34386081b953ff",
    ),
    "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5": (
        "sha256",
        "3e195a2857356cfc092cbbb460beb2a5bce279015d7792598b8d3d9e451902e3",
    ),
    "weights_mobilenet_v3_large_224_0.75_float.h5": ("md5", "765b44a33ad4005b3ac83185abf1d0eb"),
    "weights_mobilenet_v3_large_224_1.0_float.h5": ("md5", "59e551e166be033d707958cf9e29a6a7"),
    "weights_mobilenet_v3_small_224_0.75_float.h5": ("md5", "cb65d4e5be93758266aa0a7f2c6708b7"),
    "weights_mobilenet_v3_small_224_1.0_float.h5": ("md5", "8768d4c2e7dee89b9d02b2d03d65d862"),
}
