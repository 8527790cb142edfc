import math

import numpy as np
import pytest

from pipeline.describe.count_operations import (
    Cost,
    depthwise_convolution,
    pointwise_convolution,
    separable_convolution,
    share_of_standard,
    spatially_separable_convolution,
    standard_convolution,
)


def test_one_layer_by_hand() -> None:
    # 3x3 over 2 channels to 4, 5x5 out: each of 100 outputs is a sum of 18 products.
    assert standard_convolution((3, 3), 2, 4, (5, 5)) == Cost(72, 1800)
    assert depthwise_convolution((3, 3), 2, (5, 5)) == Cost(18, 450)
    assert depthwise_convolution((3, 3), 2, (5, 5), multiplier=3) == Cost(54, 1350)
    assert pointwise_convolution(2, 4, (5, 5)) == Cost(8, 200)
    assert separable_convolution((3, 3), 2, 4, (5, 5)) == Cost(26, 650)
    # 3x1 to 4 channels over 5 x 5, then 1x3 among them: 24 + 48 weights, each used 25 times.
    assert spatially_separable_convolution((3, 3), 2, 4, 5, (5, 5)) == Cost(72, 1800)
    # With a stride of 2 the first step halves the rows only: 24 * 5 * 10 + 48 * 5 * 5.
    assert spatially_separable_convolution((3, 3), 2, 4, 10, (5, 5)) == Cost(72, 2400)


def test_mult_adds_are_the_products_of_a_convolution_written_as_loops() -> None:
    products = 0
    image, kernel = np.ones((6, 7, 3)), np.ones((3, 2, 3, 5))
    for row in range(6 - 3 + 1):
        for column in range(7 - 2 + 1):
            for filter_ in range(5):
                window = image[row : row + 3, column : column + 2]
                products += (window * kernel[..., filter_]).size
    assert standard_convolution((3, 2), 3, 5, (4, 6)) == Cost(kernel.size, products)


def test_costs_add_up() -> None:
    assert Cost(1, 2) + Cost(3, 4) == Cost(4, 6)


@pytest.mark.parametrize(
    ("kernel", "inputs", "filters"), [((3, 3), 32, 64), ((3, 3), 1024, 1024), ((5, 5), 240, 40)]
)
def test_what_is_saved_is_one_by_n_and_one_by_dk_squared(
    kernel: tuple[int, int], inputs: int, filters: int
) -> None:
    separable = separable_convolution(kernel, inputs, filters, (14, 14))
    standard = standard_convolution(kernel, inputs, filters, (14, 14))
    share = share_of_standard(kernel, filters)
    assert math.isclose(separable.mult_adds / standard.mult_adds, share, rel_tol=1e-12)
    assert math.isclose(separable.parameters / standard.parameters, share, rel_tol=1e-12)


def test_the_layers_of_the_papers_table_1_sum_up_to_its_totals() -> None:
    """Howard et al. 2017: table 1 by hand, table 4 for the totals in millions."""
    size, inputs = 112, 32
    mobilenet = standard = standard_convolution((3, 3), 3, 32, (112, 112))
    for filters, stride in (
        *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
        *((512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1)),
    ):
        size //= stride
        mobilenet += separable_convolution((3, 3), inputs, filters, (size, size))
        standard += standard_convolution((3, 3), inputs, filters, (size, size))
        inputs = filters
    assert size == 7
    assert round(standard.mult_adds / 1e6) == 4866  # without the classifier, as it comes out
    mobilenet += pointwise_convolution(1024, 1000, (1, 1))
    standard += pointwise_convolution(1024, 1000, (1, 1))
    assert round(mobilenet.mult_adds / 1e6) == 569
    assert round(mobilenet.parameters / 1e6, 1) == 4.2
    assert round(standard.parameters / 1e6, 1) == 29.3
