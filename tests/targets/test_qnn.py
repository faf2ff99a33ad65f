"""Qualcomm's compiler: what its log says, and, where it is installed, what it takes."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mobilekit.artifacts.open import open_artifact
from mobilekit.artifacts.runtime import Arrays
from mobilekit.convert.byte_inputs import give_onnx_bytes
from mobilekit.errors import UsageError
from mobilekit.store.stages import Stage
from mobilekit.targets.answer import Refusal
from mobilekit.targets.qnn import QNN, SOCS, QNNProcess, on_npu, read_answer

SHAPE, SIX = (1, 8, 8, 8), (1, 2, 2, 2, 8, 8)
# As onnxruntime-qnn 2.7.0 prints it.
LOG = """
[W:onnxruntime:, qnn_model_wrapper.cc:565 CreateQnnNode] QNN.backendValidateOpConfig() failed \
for node `features.1/Reshape` of type `Reshape` with error code 3110\x1b[m
[V:onnxruntime:, qnn_execution_provider.cc:1713 LogNodeSupport] Validation FAILED for 1 nodes in OrtNodeUnit (Reshape) :
\tOperator type: Reshape Node name: features.1/Reshape Node index: 1
\tREASON : Failed to add node.

[V:onnxruntime:, qnn_execution_provider.cc:1713 LogNodeSupport] Validation PASSED for 1 nodes in OrtNodeUnit (Relu) :
\tOperator type: Relu Node name: features.0/Relu Node index: 0

[V:onnxruntime:, qnn_execution_provider.cc:1713 LogNodeSupport] Validation FAILED for 1 nodes in OrtNodeUnit (Erf) :
\tOperator type: Erf Node name: features.2/Erf Node index: 3
\tREASON : Operators of type `Erf` are not supported by QNN EP.
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Relu, Reshape to six axes, Sin, Reshape back, Erf."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "features.0/Relu"),
        helper.make_node("Reshape", ["a", "six"], ["b"], "features.1/Reshape"),
        helper.make_node("Sin", ["b"], ["s"], "features.1/Sin"),
        helper.make_node("Reshape", ["s", "four"], ["c"], "features.1/Reshape_1"),
        helper.make_node("Erf", ["c"], ["y"], "features.2/Erf"),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("x", "y")]
    shapes = [
        helper.make_tensor(name, TensorProto.INT64, [len(shape)], shape)
        for name, shape in (("six", SIX), ("four", SHAPE))
    ]
    graph = helper.make_graph(nodes, "net", values[:1], values[1:], shapes)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    target = tmp_path / "model.onnx"
    onnx.save(model, target)
    return target


def test_what_is_refused_is_told_with_axes_and_module(path: Path) -> None:
    groups = [
        {"provider": "QNNExecutionProvider", "nodes": [["Relu", "features.0/Relu"]]},
        {"provider": "CPUExecutionProvider", "nodes": [["Reshape", "features.1/Reshape"]]},
        {"provider": "CPUExecutionProvider", "nodes": [["Reshape", "features.1/Reshape_1"], ["Erf", "features.2/Erf"]]},
    ]
    answer = read_answer("qnn:SM8650", path, groups, LOG)
    assert (answer.taken, answer.total, answer.partitions, answer.is_whole) == (1, 4, 1, False)
    assert answer.refused == (
        Refusal(
            "Reshape",
            1,
            "QNN.backendValidateOpConfig() failed with error code 3110; 6 axes",
            ("features.1",),
        ),
        Refusal("Reshape", 1, "not taken, and nothing said", ("features.1",)),
        Refusal("Erf", 1, "Operators of type `Erf` are not supported by QNN EP", ("features.2",)),
    )


def test_a_graph_in_one_group_is_whole(path: Path) -> None:
    groups = [{"provider": "QNNExecutionProvider", "nodes": [["Relu", "a"], ["Transpose", "b"]]}]
    answer = read_answer("qnn:SM8650", path, groups, "")
    assert (answer.taken, answer.total, answer.is_whole) == (2, 2, True)


def test_without_it_the_package_is_named() -> None:
    problem = QNN("qnn:SM8650").why_not()
    if importlib.util.find_spec("onnxruntime_qnn"):
        assert problem is None
    else:
        assert problem
        assert (problem.exit_code, "pip install --no-deps onnxruntime-qnn==" in problem.hint) == (4, True)


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime_qnn") is None, reason="onnxruntime-qnn is not installed")
@pytest.mark.parametrize("soc", SOCS)
def test_the_compiler_takes_four_axes_and_refuses_six(path: Path, soc: str) -> None:
    answer = QNN(f"qnn:{soc}").ask(path)
    assert "Relu" not in {each.op for each in answer.refused}
    assert any("6 axes" in each.words for each in answer.refused)
    assert not answer.is_whole


def test_another_chip_is_refused() -> None:
    with pytest.raises(UsageError, match="no target 'qnn:SM1'"):
        QNNProcess("SM1")


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime_qnn") is None, reason="onnxruntime-qnn is not installed")
def test_it_computes_in_float16(path: Path) -> None:
    """As near to float32 as float16 is, and no nearer."""
    inputs = {"x": np.random.default_rng(0).normal(size=(3, *SHAPE[1:])).astype(np.float32)}
    right = open_artifact(path, {}).run(inputs)["y"]
    other = path.with_name("other.onnx")
    shutil.copy(path, other)
    with QNNProcess("SM8650") as process:
        found = on_npu(process).open(Stage.HTP_FLOAT16, path, {}).run(inputs)["y"]
        again = on_npu(process).open(Stage.HTP_FLOAT16, other, {}).run(inputs)["y"]
    np.testing.assert_array_equal(found, again)
    off = float(np.linalg.norm(found - right) / np.linalg.norm(right))
    assert found.shape == right.shape
    assert 1e-5 < off < 2e-3


@pytest.fixture
def of_bytes(tmp_path: Path) -> Path:
    """A cast of an input in bytes."""
    taken = helper.make_tensor_value_info("x", TensorProto.UINT8, SHAPE)
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE)
    graph = helper.make_graph([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)], "net", [taken], [made])
    file = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), file)
    return file


def test_what_becomes_of_bytes_is_told(of_bytes: Path) -> None:
    groups = [{"provider": "QNNExecutionProvider", "nodes": [["Cast", ""]]}]
    answer = read_answer("qnn:SM8650", of_bytes, groups, "")
    assert (answer.is_whole, [(each.op, each.count) for each in answer.wrong]) == (True, [("Cast", 1)])
    groups[0]["provider"] = "CPUExecutionProvider"
    assert read_answer("qnn:SM8650", of_bytes, groups, "").wrong == ()


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime_qnn") is None, reason="onnxruntime-qnn is not installed")
def test_the_library_still_takes_bytes_for_truth_values(of_bytes: Path) -> None:
    with QNNProcess("SM8650") as process:
        found = on_npu(process).open(Stage.HTP_FLOAT16, of_bytes, {}).run({"x": np.full(SHAPE, 200, np.float32)})["y"]
    np.testing.assert_allclose(found, 1, atol=1e-3)


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime_qnn") is None, reason="onnxruntime-qnn is not installed")
def test_files_that_take_bytes_are_right(tmp_path: Path) -> None:
    """They have a DequantizeLinear where others have a Cast."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", ends[:1], ends[1:])
    file = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file)
    give_onnx_bytes(file, ["x"])
    levels = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.float32)
    assert (answer := QNN("qnn:SM8650").ask(file)).is_whole and not answer.wrong
    with QNNProcess("SM8650") as process:
        found = on_npu(process).open(Stage.HTP_FLOAT16, file, {}).run({"x": levels})["y"]
    np.testing.assert_allclose(found, levels, rtol=1e-3)


def test_bytes_are_given_as_bytes(of_bytes: Path) -> None:
    given: list[Arrays] = []

    class Process(QNNProcess):
        def __init__(self) -> None:
            pass

        def run(self, path: Path, inputs: Arrays) -> Arrays:
            given.append(inputs)
            return inputs

    on_npu(Process()).open(Stage.HTP_FLOAT16, of_bytes, {}).run({"x": np.full(SHAPE, 200, np.float32)})
    assert (str(given[0]["x"].dtype), given[0]["x"].max()) == ("uint8", 200)
