"""What each layer of a Keras model costs, read from the model itself.

As in the papers, mult-adds are those of convolutions and of the classifier: normalisation is
folded into them for inference, and activations have none.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from pipeline.describe.count_operations import (
    Cost,
    depthwise_convolution,
    pointwise_convolution,
    spatially_separable_convolution,
    standard_convolution,
)

_CONVOLUTIONS: Final = ("Conv1D", "Conv2D", "Conv3D", "Dense")
_DEPTHWISE: Final = ("DepthwiseConv1D", "DepthwiseConv2D")
_SEPARABLE: Final = ("SeparableConv1D", "SeparableConv2D")
_TRANSPOSED: Final = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
# Their weights are added to or multiplied with each value once, which no paper counts.
_FREE: Final = (
    *("BatchNormalization", "LayerNormalization", "GroupNormalization", "UnitNormalization"),
    *("Normalization", "PReLU"),
)


class LayerCost(NamedTuple):
    """One layer: `mult_adds` is None where they cannot be told from the kind of layer."""

    name: str  # after those of the models that it is nested in
    kind: str
    output: tuple[int | None, ...]  # without the batch
    parameters: int
    mult_adds: int | None

    @property
    def cost(self) -> Cost:
        """Parameters and the mult-adds that are known."""
        return Cost(self.parameters, self.mult_adds or 0)


class Block(NamedTuple):
    """A depthwise and the pointwise convolution that follows it, and what could stand for them.

    `first` and `last` are the indices of the two among the layers. Costs are those of
    the convolutions alone.
    """

    first: int
    last: int
    kernel: tuple[int, int]
    filters: int
    separable: Cost
    standard: Cost
    spatial: Cost


class Compared(NamedTuple):
    """A layer's cost in the network as it is, and in those with other convolutions.

    None where such a network has no such layer. `block` is the one that ends here.
    """

    layer: LayerCost
    standard: Cost | None
    spatial: Cost | None
    block: Block | None


def layer_costs(model: Any) -> list[LayerCost]:
    """Every layer of a Keras model with what it costs, nested models unfolded, in order."""
    return [_layer_cost(name, layer) for name, layer in _layers(model)]


def separable_blocks(model: Any) -> list[Block]:
    """The blocks of a Keras model; indices are those of `layer_costs`.

    What lies between the two convolutions may be normalisation, activation, and also squeeze and
    excitation, whose own 1x1 convolutions are not the block's.
    """
    blocks, depthwise, is_squeezed = [], None, False
    for index, (_, layer) in enumerate(_layers(model)):
        kind = _kind(layer)
        if kind == "DepthwiseConv2D":
            depthwise, is_squeezed = (index, layer), False
        elif kind == "SeparableConv2D":
            blocks.append(_block(index, layer, index, layer))
        elif kind == "GlobalAveragePooling2D":
            is_squeezed = True
        elif kind == "Multiply":
            is_squeezed = False
        elif kind == "Conv2D" and depthwise and not is_squeezed:
            if layer.kernel_size == (1, 1):
                blocks.append(_block(*depthwise, index, layer))
            depthwise = None
    return blocks


def compare_convolutions(model: Any) -> list[Compared]:
    """Every layer of a Keras model beside those of the networks with other convolutions.

    There, one convolution stands in the place of each block, a standard or a spatially separable
    one; what lies within the block, normalisation for example, goes with it.
    """
    layers = layer_costs(model)
    compared = [Compared(layer, layer.cost, layer.cost, None) for layer in layers]
    for block in separable_blocks(model):
        for index in range(block.first, block.last):
            compared[index] = Compared(layers[index], None, None, None)
        last = layers[block.last]
        compared[block.last] = Compared(last, block.standard, block.spatial, block)
    return compared


def _layers(model: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _layers(layer, f"{above}{layer.name}/")
        else:
            yield above + layer.name, layer


def _layer_cost(name: str, layer: Any) -> LayerCost:
    output = layer.output
    shape = () if isinstance(output, (list, tuple, dict)) else tuple(output.shape[1:])
    return LayerCost(name, _kind(layer), shape, layer.count_params(), _mult_adds(layer))


def _mult_adds(layer: Any) -> int | None:
    """Mult-adds for one image, or None for a kind of layer with weights that is not known."""
    kind = _kind(layer)
    if kind in _DEPTHWISE:
        *kernel, inputs, multiplier = layer.kernel.shape
        return depthwise_convolution(kernel, inputs, _sides(layer), multiplier).mult_adds
    if kind in _SEPARABLE:
        *kernel, inputs, multiplier = layer.depthwise_kernel.shape
        depthwise = depthwise_convolution(kernel, inputs, _sides(layer), multiplier)
        pointwise = pointwise_convolution(inputs * multiplier, layer.filters, _sides(layer))
        return (depthwise + pointwise).mult_adds
    if kind in _CONVOLUTIONS:
        *kernel, inputs, filters = layer.kernel.shape
        return standard_convolution(kernel, inputs, filters, _sides(layer)).mult_adds
    if kind in _TRANSPOSED:  # every value that comes in meets the whole kernel
        *kernel, filters, inputs = layer.kernel.shape
        return standard_convolution(kernel, inputs, filters, _sides(layer, layer.input)).mult_adds
    return 0 if kind in _FREE or not layer.weights else None


def _block(first: int, depthwise: Any, last: int, pointwise: Any) -> Block:
    kernel, filters = tuple(depthwise.kernel_size), pointwise.filters
    inputs, multiplier = _channels(depthwise), depthwise.depth_multiplier
    height, width = _sides(pointwise)
    input_width = _sides(depthwise, depthwise.input)[1]
    bias = Cost(filters if pointwise.use_bias else 0, 0)
    output = height, width
    spatial = spatially_separable_convolution(kernel, inputs, filters, input_width, output)
    return Block(
        *(first, last, kernel, filters),
        separable=depthwise_convolution(kernel, inputs, output, multiplier)
        + pointwise_convolution(inputs * multiplier, filters, output)
        + bias,
        standard=standard_convolution(kernel, inputs, filters, output) + bias,
        spatial=spatial + bias,
    )


def _kind(layer: Any) -> str:
    return layer.__class__.__name__


def _channels(layer: Any) -> int:
    return int(layer.input.shape[-1 if layer.data_format == "channels_last" else 1])


def _sides(layer: Any, tensor: Any = None) -> tuple[int, ...]:
    """Height and width, or whatever sides there are, of a layer's output or of `tensor`."""
    shape = (layer.output if tensor is None else tensor).shape[1:]
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return tuple(shape[1:] if first else shape[:-1])
