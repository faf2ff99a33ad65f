"""TFLite files taken apart, put together, and cut."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from mobilekit.artifacts.analysis.cut_tflite import cut_tflite
from mobilekit.artifacts.tflite import TFLiteGraph, constant, kinds, ordered, pack, schema, type_of, unpack
from mobilekit.bench.single_ops import single_op
from tests.tflite_by_hand import make_tflite

FACTORS = np.arange(4, dtype=np.float32).reshape(1, 4)
OPS = [("MUL", ["x", "factors"], "a"), ("ADD", ["a", "a"], "b"), ("ADD", ["b", "x"], "c")]
CONTENT = make_tflite(OPS, (1, 4), ["b", "c"], {"factors": FACTORS})
X = np.float32([[1, 2, 3, 4]])


def _run(content: bytes, *arrays: np.ndarray) -> list[np.ndarray]:
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), arrays, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def test_what_is_unpacked_and_packed_again_is_the_same() -> None:
    content = pack(unpack(CONTENT))
    assert content == pack(unpack(content))
    for one, other in zip(_run(CONTENT, X), _run(content, X), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_graph_by_numbers() -> None:
    graph = TFLiteGraph(CONTENT)
    x, factors, a, b, c = range(5)
    assert [graph.name(tensor) for tensor in (x, factors, a, b, c)] == ["x", "factors", "a", "b", "c"]
    assert graph.kinds == ["MUL", "ADD", "ADD"]
    assert (graph.operands, graph.results) == ([[x, factors], [a, a], [b, x]], [[a], [b], [c]])
    assert (graph.before, graph.after) == ([[], [0], [1]], [[1], [2], []])
    assert graph.makers == {a: 0, b: 1, c: 2} and graph.readers[x] == [0, 2]
    assert [tensor for tensor in range(5) if graph.is_constant(tensor)] == [factors]


def test_constants_come_in_their_shape_and_format() -> None:
    model = unpack(CONTENT)
    x, factors, *_ = model.subgraphs[0].tensors
    assert constant(model, x) is None
    np.testing.assert_array_equal(constant(model, factors), FACTORS)
    factors.type, factors.shape = schema().TensorType.INT8, np.array([2, 8], np.int32)
    assert type_of(factors) == "INT8"
    np.testing.assert_array_equal(constant(model, factors), np.frombuffer(FACTORS.tobytes(), np.int8).reshape(2, 8))
    factors.type = schema().TensorType.INT4
    packed = constant(model, factors)
    assert packed is not None and packed.shape == (2, 8) and packed.dtype == np.uint8, "one byte each, as it stands"
    factors.shape = np.array([4, 8], np.int32)  # two in a byte
    packed = constant(model, factors)
    assert packed is not None and packed.shape == (16,)


def test_an_op_that_the_schema_does_not_know_has_a_number() -> None:
    model = unpack(CONTENT)
    model.operatorCodes[0].builtinCode = 9999
    model.operatorCodes[1].builtinCode = 0  # as old converters wrote it
    assert kinds(model) == ["OP_9999", "ADD", "ADD"]


def test_outputs_change_places_and_nothing_else() -> None:
    turned = ordered(CONTENT, ["x"], ["c", "b"])
    assert sum(one != other for one, other in zip(CONTENT, turned, strict=True)) == 2
    b, c = _run(CONTENT, X)
    np.testing.assert_array_equal(_run(turned, X), [c, b])


def test_a_part_takes_what_it_is_told_and_brings_its_constants() -> None:
    model = unpack(CONTENT)
    x, _, a, b, c = range(5)
    before = pack(model)
    np.testing.assert_array_equal(_run(cut_tflite(model, [0], [x], [a]), X), [X * FACTORS])
    np.testing.assert_array_equal(_run(cut_tflite(model, [2], [x, b], [c]), X, 2 * X), [3 * X])
    assert pack(model) == before, "the whole stays as it is"


@pytest.mark.parametrize(("op", "inputs"), [(0, ["x"]), (1, ["a"]), (2, ["b", "x"])])
def test_an_op_alone_takes_what_others_make(op: int, inputs: list[str]) -> None:
    alone = TFLiteGraph(single_op(TFLiteGraph(CONTENT), op))
    assert alone.kinds == [OPS[op][0]]
    assert [alone.name(tensor) for tensor in alone.model.subgraphs[0].inputs] == inputs
