"""Files take bytes where float32 stood before, compute the same, and can be had back without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from mobilekit.artifacts.onnx import open_session
from mobilekit.artifacts.tflite import TFLiteGraph, type_of, unpack
from mobilekit.convert.byte_inputs import draw_inputs, give_onnx_bytes, take_onnx_bytes, with_bytes, without_bytes
from mobilekit.convert.int8.calibration import observe, with_ranges
from tests.tflite_by_hand import make_tflite

PIXELS = np.random.default_rng(0).integers(0, 256, (1, 2, 2, 3), np.uint8)


def run(content: bytes, values: NDArray[Any]) -> NDArray[np.float32]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    made: NDArray[np.float32] = interpreter.get_signature_runner()(x=values)["y"]
    return made


def test_onnx_takes_the_bytes_of_the_inputs_that_are_named(tmp_path: Path) -> None:
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in ("picture", "other")]
    output = helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1, 2])
    nodes = [
        helper.make_node("Add", ["picture", "other"], ["both"]),
        helper.make_node("Add", ["both", "picture"], ["sum"]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "net", inputs, [output]), opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    )
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    before = path.read_bytes()
    give_onnx_bytes(path, ["picture"])
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = open_session(path)
    assert [one.type for one in session.get_inputs()] == ["tensor(uint8)", "tensor(float)"]
    given = {"picture": np.array([[200, 3]], np.uint8), "other": np.array([[0.5, 1]], np.float32)}
    np.testing.assert_array_equal(session.run(None, given)[0], [[400.5, 7]])
    assert take_onnx_bytes(path) == ["picture"]
    assert path.read_bytes() == before
    assert take_onnx_bytes(path) == []


FLOAT32 = make_tflite([("MUL", ["x", "w"], "y")], (1, 2, 2, 3), ["y"], {"w": np.float32([[[[0.5, 2, -1]]]])})


def test_tflite_takes_them_and_can_be_had_back() -> None:
    taken = with_bytes(FLOAT32, ["x"])
    graph = unpack(taken).subgraphs[0]
    assert type_of(graph.tensors[graph.inputs[0]]) == "UINT8"
    np.testing.assert_array_equal(run(taken, PIXELS), PIXELS * np.float32([0.5, 2, -1]))
    back, names = without_bytes(taken)
    assert names == ["x"]
    np.testing.assert_array_equal(run(back, PIXELS.astype(np.float32)), PIXELS * np.float32([0.5, 2, -1]))
    assert with_bytes(FLOAT32, []) is FLOAT32
    assert without_bytes(FLOAT32) == (FLOAT32, [])


@pytest.mark.parametrize(("pixels", "highest"), [([], 9), (["x"], 255)])
def test_pixels_have_a_step_for_each_byte_whatever_they_were_calibrated_on(pixels: list[str], highest: float) -> None:
    ranges = observe(FLOAT32, {"x": np.full((1, 2, 2, 3), 9, np.float32)}).whole_ranges()
    graph = TFLiteGraph(with_ranges(FLOAT32, ranges, pixels))
    (number,) = graph.signature_inputs().values()
    assert graph.tensors[number].quantization.max == highest


def test_files_are_compared_on_inputs_such_as_they_take() -> None:
    drawn = draw_inputs({"picture": [1, 3, 8, 8], "other": [1, 500]}, ["picture"])
    assert drawn["picture"].dtype == np.float32
    assert drawn["picture"].max() > 200
    np.testing.assert_array_equal(drawn["picture"], drawn["picture"].astype(np.uint8))
    assert drawn["other"].min() < -1
