"""The ops of a file in their order, with what they make and hold, and the module they are of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mobilekit.artifacts.inspect import inspect
from mobilekit.artifacts.op_list import list_ops
from mobilekit.cli.render.inspect import op_lines
from mobilekit.errors import ToolError
from mobilekit.store.jsonable import to_json
from tests.conftest import ROOT
from tests.tflite_by_hand import make_tflite

SMALL = ROOT / "tests" / "data" / "lab_session" / "small.tflite"


@pytest.fixture
def bundled(tmp_path: Path) -> Path:
    """A TFLite file of two ops in a folder with a bundle's map of modules, which has the second op's."""
    path = tmp_path / "model.float32.tflite"
    path.write_bytes(make_tflite([("ADD", ("x", "x"), "y"), ("RSQRT", ("y",), "z")], (1, 4, 4, 3), ["z"]))
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "modules.json").write_text(json.dumps({"modules": {"z": "head.norm"}, "classes": {}}))
    return path


def test_a_tflite_file_in_a_bundle(bundled: Path) -> None:
    add, rsqrt = list_ops(bundled)
    assert (add.index, add.op, add.module) == (0, "ADD", None)
    assert (rsqrt.index, rsqrt.op, rsqrt.module) == (1, "RSQRT", "head.norm")
    assert to_json(rsqrt.outputs) == [{"name": "z", "shape": [1, 4, 4, 3], "dtype": "float32"}]


def test_weights_are_counted_in_bytes() -> None:
    """8 kernels of 3 x 3 x 3 and 8 biases, in float32."""
    convolution = list_ops(SMALL)[1]
    assert (convolution.op, convolution.weights_bytes) == ("CONV_2D", 4 * (8 * 3 * 3 * 3 + 8))
    assert all(each.module is None for each in list_ops(SMALL))


def test_the_list_agrees_with_the_counts() -> None:
    found = inspect(SMALL, with_ops=True)
    assert found.op_list is not None
    assert len(found.op_list) == sum(found.ops.values())
    assert "op_list" not in to_json(inspect(SMALL))


def test_an_onnx_file(tmp_path: Path) -> None:
    kernel = np.ones((8, 3, 1, 1), np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "stem.conv.weight"], ["y"]), helper.make_node("Relu", ["y"], ["z"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 4, 4])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 8, 4, 4])],
        [numpy_helper.from_array(kernel, "stem.conv.weight")],
    )
    path = tmp_path / "a.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    convolution, relu = list_ops(path)
    assert (convolution.module, convolution.weights_bytes) == ("stem.conv", kernel.nbytes)
    assert convolution.outputs[0].shape == ("N", 8, 4, 4)
    assert (relu.op, relu.module, relu.weights_bytes) == ("Relu", None, 0)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("blocks.0.act/Relu", "blocks.0.act"),
        ("act/Relu_12", "act"),
        ("Relu", None),
        ("/act/Relu", None),
        ("net/act/Relu", None),
        ("act/Sigmoid", None),
        ("", None),
    ],
)
def test_an_onnx_node_that_is_named_after_its_module(name: str, module: str | None, tmp_path: Path) -> None:
    """Other programs write paths of their own kind, which are not the model's."""
    x, y = (helper.make_tensor_value_info(each, TensorProto.FLOAT, [1]) for each in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], name=name)], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "a.onnx")
    assert [op.module for op in list_ops(tmp_path / "a.onnx")] == [module]


@pytest.mark.parametrize("text", ["", "[]", '{"modules": 3}', "\udcff"])
def test_a_damaged_map_is_told(bundled: Path, text: str) -> None:
    source = bundled.parent / "stages" / "modules.json"
    source.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ToolError, match="cannot be read"):
        list_ops(bundled)


def test_the_lines(bundled: Path) -> None:
    assert op_lines(list_ops(bundled)) == [
        "   op      output  type     weights  module",
        "0  ADD    1x4x4x3  float32",
        "1  RSQRT  1x4x4x3  float32           head.norm",
    ]
