"""Parameters and mult-adds (multiplications with addition) of convolutions.

The formulas are those of Howard et al. 2017 (https://arxiv.org/abs/1704.04861), section 3.1: a
kernel of Dk x Dk takes M channels to N and gives an output of Df x Df. Sizes are given by their
sides, so that a kernel need not be square, nor an image flat.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Sides = Sequence[int]


@dataclass(frozen=True)
class Cost:
    """Parameters of a layer, and mult-adds for one image."""

    parameters: int
    mult_adds: int

    def __add__(self, other: "Cost") -> "Cost":
        """The sum."""
        return Cost(self.parameters + other.parameters, self.mult_adds + other.mult_adds)


def standard_convolution(kernel: Sides, inputs: int, filters: int, output: Sides) -> Cost:
    """Dk*Dk*M*N parameters and Dk*Dk*M*N*Df*Df mult-adds (equation 2 of the paper)."""
    parameters = math.prod(kernel) * inputs * filters
    return Cost(parameters, parameters * math.prod(output))


def depthwise_convolution(kernel: Sides, inputs: int, output: Sides, multiplier: int = 1) -> Cost:
    """Dk*Dk*M parameters and Dk*Dk*M*Df*Df mult-adds (equation 4), `multiplier` times."""
    return standard_convolution(kernel, 1, inputs * multiplier, output)


def pointwise_convolution(inputs: int, filters: int, output: Sides) -> Cost:
    """M*N parameters and M*N*Df*Df mult-adds: a standard convolution of 1x1."""
    return standard_convolution((1,), inputs, filters, output)


def separable_convolution(kernel: Sides, inputs: int, filters: int, output: Sides) -> Cost:
    """Depthwise, then pointwise: Dk*Dk*M + M*N parameters, that times Df*Df mult-adds (eq. 5)."""
    depthwise = depthwise_convolution(kernel, inputs, output)
    return depthwise + pointwise_convolution(inputs, filters, output)


def share_of_standard(kernel: Sides, filters: int) -> float:
    """What `separable_convolution` costs for one of `standard_convolution`: 1/N + 1/Dk^2."""
    return 1 / filters + 1 / math.prod(kernel)


def spatially_separable_convolution(
    kernel: tuple[int, int], inputs: int, filters: int, input_width: int, output: tuple[int, int]
) -> Cost:
    """Dk x 1 from M channels to N, then 1 x Dk from N to N: Dk*M*N + Dk*N*N parameters.

    As Szegedy et al. 2016 factorise convolutions (https://arxiv.org/abs/1512.00567, section 3.2),
    with all the filters from the first step on. The first step has the stride downwards only and
    so gives Df rows as wide as the input.
    """
    (rows, columns), (height, width) = kernel, output
    down = standard_convolution((rows, 1), inputs, filters, (height, input_width))
    return down + standard_convolution((1, columns), filters, filters, (height, width))
