"""What a user can choose about the network, as plain values; nothing heavy is imported here."""

from typing import Final, Literal, NamedTuple

Resize = Literal["crop", "squash", "keras"]
EngineName = Literal["auto", "tensorflow", "litert"]
Precision = Literal["float32", "int8", "float16", "bfloat16"]
ScalingName = Literal["auto", "-1..1", "0..1", "0..255"]
OutputsName = Literal["auto", "probabilities", "logits"]

IMAGENET: Final = "imagenet"
AUTO: Final = "auto"
# What an option means that was not given; a model of one's own may have other values.
DEFAULT_ALPHA: Final = 1.0
DEFAULT_IMAGE_SIZE: Final = 224
DEFAULT_TOP_K: Final = 5


class ModelChoice(NamedTuple):
    """The options that determine the network and its labels; None where one was not given."""

    model: str
    alpha: float | None
    image_size: int | None
    weights: str
    labels: str | None
    top_k: int | None
    resize: Resize
    precision: Precision
    engine: EngineName
    scaling: ScalingName = AUTO
    outputs: OutputsName = AUTO
    has_gpu: bool | None = None  # the machine that runs the network; None: as this one has
