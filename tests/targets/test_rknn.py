"""Rockchip's compiler: what its log says, against a Python that is a script, and, where it is installed, itself."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from mobilekit.errors import ToolError
from mobilekit.targets import rknn
from mobilekit.targets.answer import Refusal
from mobilekit.targets.rknn import RKNN, VARIABLE, read_answer
from tests.conftest import Cli

HEAD = (
    "D RKNN: [23:10:30.261] ID   OpType  DataType Target InputShape OutputShape Cycles(DDR/NPU/Total) RW(KB) FullName\n"
)
SHAPE = (1, 4, 6, 6)


def line(number: int, kind: str, where: str, name: str) -> str:
    head = f"D RKNN: [23:10:30.261] {number:<4} {kind:<18} FLOAT16  {where}"
    return f"{head}    (1,4,6,6),...   (1,4,6,6)   1/2/3   5   {name}  \n"


TABLE = "".join(
    [
        HEAD,
        line(0, "InputOperator", "CPU", "InputOperator:x"),
        line(1, "ConvRelu", "NPU", "Conv:stem.0/Conv"),
        line(2, "Mul", "CPU", "Mul:stem.1/Mul"),
        line(3, "Add", "NPU", "Add:stem.2/Add_AddRelu"),
        line(4, "Reshape", "NPU", "Reshape:y"),
        line(5, "OutputOperator", "CPU", "OutputOperator:y"),
    ]
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three nodes, named after their modules."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "stem.0/Relu"),
        helper.make_node("Mul", ["a", "x"], ["b"], "stem.1/Mul"),
        helper.make_node("Add", ["b", "x"], ["y"], "stem.2/Add"),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python that has the compiler: it says its version, or else a log, and ends as a file beside it says."""
    script = tmp_path / "python"
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *version*) echo 2.5.0;; *) cat {tmp_path}/said; exit $(cat {tmp_path}/code) ;; esac\n'
    )
    script.chmod(0o755)
    (tmp_path / "said").write_text("\x1b[1;33m" + TABLE)
    (tmp_path / "code").write_text("0")
    monkeypatch.setenv(VARIABLE, str(script))
    return script


def test_what_is_left_is_told_with_its_module_and_the_crossings(path: Path) -> None:
    answer = read_answer("rknn:rk3588", path, True, TABLE, "2.5.0")
    assert (answer.taken, answer.total, answer.partitions, answer.is_whole) == (3, 4, 2, False)
    assert answer.refused == (Refusal("Mul", 1, "left to the CPU", ("stem.1",)),)
    assert answer.asked == "rknn-toolkit2 2.5.0, float16"


def test_a_graph_that_the_npu_takes_is_whole(path: Path) -> None:
    answer = read_answer("rknn:rk3588", path, True, TABLE.replace("CPU ", "NPU "), "2.5.0")
    assert (answer.taken, answer.total, answer.partitions, answer.is_whole, answer.wrong) == (4, 4, 1, True, ())


def test_a_file_that_it_refuses_is_told_in_its_words(path: Path, python: Path, tmp_path: Path) -> None:
    (tmp_path / "said").write_text("I Loading : 100%\nE load_onnx: The op Foo is not supported!\nE and more\n")
    (tmp_path / "code").write_text("3")
    answer = RKNN("rknn:rk3588").ask(path)
    assert (answer.taken, answer.total, answer.refused[0].words) == (0, 3, "The op Foo is not supported!")


@pytest.mark.usefixtures("python")
def test_it_is_asked_by_the_python_that_is_named(path: Path, cli: Cli) -> None:
    assert RKNN("rknn:rk3588").why_not() is None
    done = cli("inspect", path, "--target", "rknn:rk3588")
    assert done.returncode == 0
    assert (
        "rknn:rk3588: model.onnx: not whole, 3 of 4 ops in 2 partitions (rknn-toolkit2 2.5.0, float16)" in done.stdout
    )


@pytest.mark.usefixtures("python")
def test_one_that_dies_is_no_answer(path: Path, tmp_path: Path) -> None:
    (tmp_path / "code").write_text("139")
    (tmp_path / "said").write_text("Segmentation fault.\n")
    with pytest.raises(ToolError, match=r"ended with exit status 139 on model\.onnx: Segmentation fault"):
        RKNN("rknn:rk3588").ask(path)


def test_without_it_the_variable_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "absent"))
    problem = RKNN("rknn:rk3588").why_not()
    assert problem
    assert problem.what.startswith(f"{tmp_path / 'absent'}, which {VARIABLE} names, has no rknn-toolkit2")
    assert (problem.exit_code, f"{VARIABLE}=rknn/bin/python" in problem.hint) == (4, True)


@pytest.mark.skipif(not os.environ.get(VARIABLE), reason=f"{VARIABLE} names no Python with rknn-toolkit2")
@pytest.mark.slow
def test_the_compiler_takes_a_small_graph(path: Path) -> None:
    answer = RKNN("rknn:rk3588").ask(path)
    assert rknn.PACKAGE in answer.asked
    assert (answer.taken, answer.partitions, answer.is_whole) == (answer.total, 1, True)
