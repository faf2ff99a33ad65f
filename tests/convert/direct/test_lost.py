"""Tensors that nothing makes are made of their twins."""

from __future__ import annotations

import numpy as np
import onnx

from mobilekit.artifacts.tflite import unpack
from mobilekit.convert.direct.lost import with_lost_tensors
from tests.tflite_net import TO_NCHW, TO_NHWC, Net, normal, results


def test_an_output_that_was_lost_is_made_of_its_transposition() -> None:
    net = Net()
    x = net.tensor("x", [1, 4, 5, 3])
    out = net.op("RELU", [x], net.tensor("moved", [1, 4, 5, 3]))
    before = net.content(x, net.tensor("map", [1, 3, 4, 5]), out)
    node = onnx.helper.make_node("Transpose", ["map"], ["moved"], perm=TO_NHWC)
    after = with_lost_tensors(before, onnx.helper.make_graph([node], "net", [], []))
    made, moved = results(after, normal(1, 4, 5, 3))
    np.testing.assert_array_equal(moved, np.maximum(normal(1, 4, 5, 3), 0))
    np.testing.assert_array_equal(made, moved.transpose(TO_NCHW))


def test_a_sum_that_was_lost_is_made_of_what_a_convolution_takes() -> None:
    net = Net()
    x = net.tensor("x", [1, 4, 5, 3])
    taken = net.op("RELU", [x], net.tensor("down/Conv_input_nhwc", [1, 4, 5, 3]))
    before = net.content(x, net.tensor("map", [1, 3, 4, 5]), taken)
    node = onnx.helper.make_node("Conv", ["map", "weight"], ["out"], name="down/Conv")
    made, _taken = results(with_lost_tensors(before, onnx.helper.make_graph([node], "net", [], [])), normal(1, 4, 5, 3))
    np.testing.assert_array_equal(made, np.maximum(normal(1, 4, 5, 3), 0).transpose(TO_NCHW))


def test_what_is_made_of_the_lost_tensor_itself_is_no_twin() -> None:
    net = Net()
    x, lost = net.tensor("x", [1, 4, 5, 3]), net.tensor("map", [1, 3, 4, 5])
    order = net.constant(np.array(TO_NHWC, np.int32))
    taken = net.op("TRANSPOSE", [lost, order], net.tensor("down/Conv_input_nhwc", [1, 4, 5, 3]))
    before = net.content(x, taken)
    node = onnx.helper.make_node("Conv", ["map", "weight"], ["out"], name="down/Conv")
    after = with_lost_tensors(before, onnx.helper.make_graph([node], "net", [], []))
    assert len(unpack(after).subgraphs[0].operators) == len(unpack(before).subgraphs[0].operators)
