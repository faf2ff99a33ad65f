"""What is done to files of the direct writer keeps their values, here on graphs that are written op by op."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.converters import direct
from benchmarks.converters.layout import with_fewer_transposes
from benchmarks.converters.lost import with_lost_tensors
from benchmarks.converters.products import with_fully_connected
from mobilekit.artifacts.tflite import TFLiteGraph, pack, schema

Floats = NDArray[np.float32]
TO_NCHW, TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


def normal(*shape: int) -> Floats:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


class Net:
    """A TFLite graph under construction."""

    def __init__(self) -> None:
        s = schema()
        self.model = s.ModelT()
        self.model.version, self.model.operatorCodes, self.model.buffers = 3, [], [s.BufferT()]
        self.graph = s.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(self, name: str, shape: list[int], values: NDArray[Any] | None = None) -> int:
        s = schema()
        tensor = s.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, np.array(shape, np.int32), 0
        tensor.type = s.TensorType.INT32 if values is not None and values.dtype == np.int32 else s.TensorType.FLOAT32
        if values is not None:
            buffer = s.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, values: NDArray[Any]) -> int:
        return self.tensor(f"constant{len(self.graph.tensors)}", list(values.shape), values)

    def op(self, kind: str, inputs: list[int], made: int, options: str = "", **fields: Any) -> int:
        s = schema()
        code = s.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(s.BuiltinOperator, kind)
        code.version = 1
        self.model.operatorCodes.append(code)
        op = s.OperatorT()
        op.opcodeIndex = len(self.model.operatorCodes) - 1
        op.inputs, op.outputs = np.array(inputs, np.int32), np.array([made], np.int32)
        if options:
            op.builtinOptionsType = getattr(s.BuiltinOptions, options)
            op.builtinOptions = getattr(s, f"{options}T")()
            for name, value in fields.items():
                setattr(op.builtinOptions, name, value)
        self.graph.operators.append(op)
        return made

    def transposed(self, source: int, order: list[int], shape: list[int], name: str) -> int:
        made = self.tensor(name, shape)
        return self.op("TRANSPOSE", [source, self.constant(np.array(order, np.int32))], made, "TransposeOptions")

    def content(self, taken: int, *made: int) -> bytes:
        self.graph.inputs, self.graph.outputs = np.array([taken], np.int32), np.array(made, np.int32)
        return pack(self.model)


def results(content: bytes, x: Floats) -> list[Floats]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]


def counts(content: bytes) -> Counter[str]:
    return Counter(TFLiteGraph(content).kinds)


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


def test_weights_in_half_precision_and_in_8_bits() -> None:
    net = Net()
    x, weights = net.tensor("x", [1, 64]), normal(32, 64)
    none, out = net.constant(np.zeros(32, np.float32)), net.tensor("out", [1, 32])
    net.op("FULLY_CONNECTED", [x, net.constant(weights), none], out, "FullyConnectedOptions")
    before, row = net.content(x, out), normal(1, 64)
    expected = row @ weights.T
    half = results(direct.float16(before), row)[0]
    np.testing.assert_allclose(half, row @ weights.astype(np.float16).astype(np.float32).T, atol=1e-5)
    assert len(direct.float16(before)) < 0.6 * len(before)
    eighth = results(direct.own_dynamic(before), row)[0]
    assert 0 < np.linalg.norm(eighth - expected) / np.linalg.norm(expected) < 0.02
    assert len(direct.own_dynamic(before)) < 0.4 * len(before)
