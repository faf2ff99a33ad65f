"""Products with constant matrices are FULLY_CONNECTED, with the bias that is added after them."""

from __future__ import annotations

import numpy as np

from mobilekit.convert.direct.products import with_fully_connected
from tests.tflite_net import Net, counts, normal, results


def linear(bias_axes: list[int]) -> bytes:
    net = Net()
    x = net.tensor("x", [1, 5, 4])
    product = net.tensor("product", [1, 5, 6])
    net.op("BATCH_MATMUL", [x, net.constant(normal(4, 6))], product, "BatchMatMulOptions")
    added = net.tensor("out", [1, 5, 6])
    return net.content(x, net.op("ADD", [product, net.constant(normal(*bias_axes))], added, "AddOptions"))


def test_a_product_with_a_matrix_takes_its_bias() -> None:
    before = linear([6])
    after = with_fully_connected(before)
    assert counts(after) == {"FULLY_CONNECTED": 1}
    np.testing.assert_allclose(results(after, normal(1, 5, 4))[0], results(before, normal(1, 5, 4))[0], atol=1e-6)


def test_what_is_added_by_row_is_no_bias() -> None:
    before = linear([5, 1])
    after = with_fully_connected(before)
    assert counts(after) == {"FULLY_CONNECTED": 1, "ADD": 1}
    np.testing.assert_allclose(results(after, normal(1, 5, 4))[0], results(before, normal(1, 5, 4))[0], atol=1e-6)


def test_a_transposed_factor_is_turned_first() -> None:
    net = Net()
    x, weights = net.tensor("x", [1, 4, 5]), normal(4, 6)
    product = net.tensor("out", [1, 5, 6])
    before = net.content(
        x, net.op("BATCH_MATMUL", [x, net.constant(weights)], product, "BatchMatMulOptions", adjX=True)
    )
    after = with_fully_connected(before)
    assert counts(after) == {"TRANSPOSE": 1, "FULLY_CONNECTED": 1}
    values = normal(1, 4, 5)
    np.testing.assert_allclose(results(after, values)[0], values.transpose(0, 2, 1) @ weights, atol=1e-5)
