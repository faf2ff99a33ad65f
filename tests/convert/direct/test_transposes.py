"""TRANSPOSEs are fewer, and what the graph computes stays the same to the bit."""

from __future__ import annotations

import numpy as np

from mobilekit.convert.direct.transposes import with_fewer_transposes
from tests.tflite_net import TO_NCHW, TO_NHWC, Net, counts, normal, results


def in_onnx_order() -> bytes:
    """relu, then rows and columns more, in ONNX's order of axes between two TRANSPOSEs; the relu is read twice."""
    net = Net()
    x = net.tensor("x", [1, 4, 5, 3])
    y = net.transposed(x, TO_NCHW, [1, 3, 4, 5], "y")
    relu = net.op("RELU", [y], net.tensor("relu", [1, 3, 4, 5]))
    numbers = [net.constant(np.array(each, np.int32)) for each in ([0, 0, 1, 0], [1, 3, 2, 5])]
    part = net.op("SLICE", [relu, *numbers], net.tensor("part", [1, 3, 2, 5]), "SliceOptions")
    edge = net.constant(normal(1, 3, 1, 5))
    joined = net.tensor("joined", [1, 3, 7, 5])
    net.op("CONCATENATION", [relu, edge, part], joined, "ConcatenationOptions", axis=2)
    return net.content(x, net.transposed(joined, TO_NHWC, [1, 7, 5, 3], "out"))


def test_two_transposes_that_undo_each_other_go_with_all_between_them_turned() -> None:
    before, x = in_onnx_order(), normal(1, 4, 5, 3)
    after = with_fewer_transposes(before)
    assert counts(before)["TRANSPOSE"] == 2
    assert counts(after) == {"RELU": 1, "SLICE": 1, "CONCATENATION": 1}
    np.testing.assert_array_equal(results(after, x)[0], results(before, x)[0])


def test_a_gate_of_one_value_a_channel_is_reshaped() -> None:
    net = Net()
    x = net.tensor("x", [1, 4, 5, 3])
    y = net.transposed(x, TO_NCHW, [1, 3, 4, 5], "y")
    axes = net.constant(np.array([2, 3], np.int32))
    mean = net.op("MEAN", [y, axes], net.tensor("mean", [1, 3, 1, 1]), "ReducerOptions", keepDims=True)
    gate = net.op("LOGISTIC", [mean], net.tensor("gate", [1, 3, 1, 1]))
    product = net.op("MUL", [y, gate], net.tensor("product", [1, 3, 4, 5]), "MulOptions")
    before = net.content(x, net.transposed(product, TO_NHWC, [1, 4, 5, 3], "out"))
    after = with_fewer_transposes(before)
    assert counts(after)["TRANSPOSE"] == 0
    np.testing.assert_allclose(results(after, normal(1, 4, 5, 3))[0], results(before, normal(1, 4, 5, 3))[0], rtol=1e-6)


def test_an_output_in_onnx_order_keeps_its_transpose() -> None:
    net = Net()
    x = net.tensor("x", [1, 4, 5, 3])
    y = net.transposed(x, TO_NCHW, [1, 3, 4, 5], "y")
    before = net.content(x, net.op("RELU", [y], net.tensor("out", [1, 3, 4, 5])))
    after = with_fewer_transposes(before)
    assert counts(after)["TRANSPOSE"] == 1
    np.testing.assert_array_equal(results(after, normal(1, 4, 5, 3))[0], results(before, normal(1, 4, 5, 3))[0])


def test_a_product_takes_its_second_factor_in_either_order() -> None:
    net = Net()
    x = net.tensor("x", [1, 3, 4, 5])
    y = net.transposed(x, [0, 1, 3, 2], [1, 3, 5, 4], "y")
    before = net.content(x, net.op("BATCH_MATMUL", [x, y], net.tensor("out", [1, 3, 4, 4]), "BatchMatMulOptions"))
    after = with_fewer_transposes(before)
    assert counts(after) == {"BATCH_MATMUL": 1}
    values = normal(1, 3, 4, 5)
    right = values @ values.transpose(0, 1, 3, 2)
    np.testing.assert_allclose(results(after, values)[0], right, rtol=1e-5, atol=1e-5)
