"""Whether the outputs of a user's own model are probabilities, or a softmax is still to follow."""

from collections.abc import Callable
from itertools import islice
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from transforms.models.calibration import calibration
from transforms.models.zoo import Scaling

OutputKind = Literal["probabilities", "logits"]

# TensorFlow's operations, whose values are within 0..1, ...
_PROBABILITIES: Final = {"Softmax": "a softmax", "Sigmoid": "a sigmoid"}
# ... are within the range of their inputs, ...
_RANGE_KEPT: Final = (
    *("Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "Cast", "Transpose"),
    *("StridedSlice", "GatherV2", "ConcatV2", "Pack", "Mean", "Max", "Min", "AvgPool", "MaxPool"),
)
# ... have no upper bound, ...
_UNBOUNDED: Final = (
    *("MatMul", "BatchMatMulV2", "BatchMatMulV3", "Conv2D", "DepthwiseConv2dNative", "BiasAdd"),
    *("FusedBatchNormV3", "Relu", "LeakyRelu", "Elu", "Selu", "Softplus"),
)
# ... or have none if one input has none.
_SUMS: Final = ("AddV2", "Sub", "Mul")
_DEEPEST: Final = 30  # operations that are followed backwards
_TOLERANCE: Final = 1e-3
_SUM_TOLERANCE: Final = 1e-2


class Outputs(NamedTuple):
    """What was decided on the outputs of a model, and why."""

    kind: OutputKind
    is_multi_label: bool  # probabilities of classes that do not exclude each other
    why: str

    def note(self) -> str:
        """A sentence for whoever uses the model."""
        also = " (multi-label: scores do not sum to 1)" if self.is_multi_label else ""
        return f"outputs taken as {self.kind}{also}: {self.why}"


def outputs_of(model: Any, scaling: Scaling, declared: str) -> Outputs:
    """Whether the outputs [n, classes] of `model` are probabilities: as declared, or found out.

    What computes the values decides where it is known. Else the answers to pictures and to noise
    do: probabilities are always within 0..1.

    Raises:
        ValueError: they are declared probabilities and are none, or are no numbers.
    """
    graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(
        tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    )
    answers = _answers(graph, scaling, int(model.input_shape[1]))
    is_within = bool(answers.min() >= -_TOLERANCE and answers.max() <= 1 + _TOLERANCE)
    is_one = answers.shape[1] == 1 or np.abs(answers.sum(axis=1) - 1).max() <= _SUM_TOLERANCE
    kind, why = declared, "as --outputs says"
    if declared == "auto":
        kind, why = _found(_computed_by(graph.outputs[0]), answers, is_within, is_one)
        why += "; --outputs changes that"
    if kind == "logits":
        return Outputs("logits", False, why)
    if not is_within:
        raise ValueError(
            f"it answers {answers.min():.3g} to {answers.max():.3g}, which are no probabilities; "
            "drop --outputs probabilities"
        )
    return Outputs("probabilities", not is_one, why)


def _found(
    computed: str | None, answers: NDArray[np.float32], is_within: bool, is_one: bool
) -> tuple[OutputKind, str]:
    if computed in _PROBABILITIES:
        return "probabilities", f"{_PROBABILITIES[computed]} computes them"
    several = answers.shape[1] > 1
    if is_within and (computed is None or (several and is_one)):
        sums = " and sum to 1" if several and is_one else ""
        return "probabilities", f"they are within 0..1{sums} for {len(answers)} pictures"
    if is_within:
        return "logits", f"{computed} computes them, which has no bounds"
    return "logits", "they are not within 0..1"


def _answers(run: Callable[[Any], Any], scaling: Scaling, image_size: int) -> NDArray[np.float32]:
    """What the model gives for some photographs and some noise, [n, classes]."""
    random = np.random.default_rng(0)
    pictures: list[NDArray[Any]] = [
        *islice(calibration(image_size), 0, None, 8),
        *(random.uniform(0, 255, (1, image_size, image_size, 3)) for _ in range(4)),
    ]
    answers = np.concatenate(
        [
            run(tf.constant(picture * scaling.scale + scaling.offset, tf.float32)).numpy()
            for picture in pictures
        ]
    )
    if not np.isfinite(answers).all():
        raise ValueError("it answers NaN or infinity to pictures; its weights are broken")
    return answers


def _computed_by(tensor: Any, depth: int = 0) -> str | None:
    """The type of the operation that gives `tensor` its values, or None if it bounds nothing known.

    Operations that keep the range of their inputs are passed.
    """
    operation = tensor.op
    kind = str(operation.type)
    if kind in _PROBABILITIES or kind in _UNBOUNDED:
        return kind
    if depth == _DEEPEST or kind not in (*_RANGE_KEPT, *_SUMS):
        return None
    inputs = [each for each in operation.inputs if each.dtype.is_floating]
    if kind == "IdentityN":
        inputs = [operation.inputs[tensor.value_index]]
    found = [_computed_by(each, depth + 1) for each in inputs]
    if unbounded := next((each for each in found if each in _UNBOUNDED), None):
        return unbounded
    if kind in _RANGE_KEPT and found and all(each in _PROBABILITIES for each in found):
        return found[0]
    return None
