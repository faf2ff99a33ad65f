"""What is read of a .pte file without ExecuTorch, against a file that it made and files written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mobilekit.artifacts.executorch.pte import FACTS, read_pte
from mobilekit.artifacts.executorch.tables import (
    PROGRAM,
    XNN_GRAPH,
    Chain,
    DataReference,
    Delegate,
    DelegateCall,
    InlineData,
    Instruction,
    KernelCall,
    Operator,
    Plan,
    Program,
    Tensor,
    Text,
    Value,
    XNNGraph,
    XNNNode,
)
from mobilekit.artifacts.flat_tables import Table, to_flatbuffer
from mobilekit.artifacts.runtime import TensorInfo
from mobilekit.errors import ToolError
from tests.programs import TWO_PARTS

CONV, HARDSWISH, CAT_OF_FIVE, BEHIND_ALL = 7, 24, 38, 99
"""Places in the schema's XNodeUnion, counted from 1."""


def image(*sizes: int) -> Value:
    return Value(Tensor(scalar_type=6, sizes=sizes))


def graph(*kinds: int) -> InlineData:
    return InlineData(tuple(to_flatbuffer(XNNGraph("0", tuple(map(XNNNode, kinds))), XNN_GRAPH)))


def program(backend: str = "XnnpackBackend", data: tuple[InlineData, ...] = ()) -> Program:
    steps: tuple[Table, ...] = (DelegateCall(0), KernelCall(0), DelegateCall(1), KernelCall(0))
    plan = Plan(
        name="forward",
        values=(image(2, 3, 8, 8), image(2, 4), Value(Tensor(scalar_type=4, sizes=(2,)))),
        inputs=(0,),
        outputs=(1, 2),
        chains=(Chain(instructions=tuple(map(Instruction, steps))),),  # type: ignore[arg-type]
        operators=(Operator("aten::cat", "out"),),
        delegates=tuple(Delegate(backend, DataReference(0, number)) for number in (0, 1)),
    )
    return Program(0, (plan,), (), data or (graph(CONV, CONV, HARDSWISH), graph(CAT_OF_FIVE, BEHIND_ALL)))


def written(folder: Path, root: Program, identifier: bytes = PROGRAM) -> Path:
    (folder / "net.pte").write_bytes(to_flatbuffer(root, identifier))
    return folder / "net.pte"


def test_a_file_that_executorch_made() -> None:
    found = read_pte(TWO_PARTS)
    assert found.inputs == (TensorInfo("input", (1, 3, 8, 8), "float32"),)
    assert found.outputs == (TensorInfo("map", (1, 4, 12, 12), "float32"),)
    assert [part.ops["conv2d"] for part in found.parts] == [1, 1]
    assert found.outside == ("upsample_nearest2d",)
    assert [isinstance(step, str) for step in found.steps] == [False, True, False]
    assert found.facts == {"inputs": ["input"], "outputs": ["map"]}


def test_parts_and_the_steps_between_them(tmp_path: Path) -> None:
    found = read_pte(written(tmp_path, program()))
    assert [dict(part.ops) for part in found.parts] == [{"conv2d": 2, "hardswish": 1}, {"cat": 1, "other": 1}]
    assert found.outside == ("cat", "cat")
    assert found.ops == {"cat": 3, "conv2d": 2, "hardswish": 1, "other": 1}


def test_ends_without_names_are_numbered(tmp_path: Path) -> None:
    found = read_pte(written(tmp_path, program()))
    assert found.inputs == (TensorInfo("input", (2, 3, 8, 8), "float32"),)
    assert found.outputs == (TensorInfo("output_0", (2, 4), "float32"), TensorInfo("output_1", (2,), "int64"))


def test_facts_name_the_ends(tmp_path: Path) -> None:
    facts = Plan(FACTS, values=(Value(Text(json.dumps({"outputs": ["scores", "labels"]}))),), outputs=(0,))
    root = program()
    named = Program(0, (*root.execution_plan, facts), (), root.backend_delegate_data)
    assert [each.name for each in read_pte(written(tmp_path, named)).outputs] == ["scores", "labels"]


def test_what_other_backends_run_is_not_known(tmp_path: Path) -> None:
    found = read_pte(written(tmp_path, program("CoreMLBackend", (InlineData((1, 2)), InlineData((3,))))))
    assert [(part.backend, part.ops) for part in found.parts] == [("CoreMLBackend", {})] * 2


def test_a_file_of_another_version_is_refused_by_name_of_version(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"net\.pte is of ExecuTorch's format ET13, and ExecuTorch 1\.5\.1 reads ET12"):
        read_pte(written(tmp_path, program(), b"ET13"))


def test_a_part_of_another_version_is_refused_by_name_of_version(tmp_path: Path) -> None:
    newer = InlineData(tuple(to_flatbuffer(XNNGraph("0"), b"XN02")))
    with pytest.raises(ToolError, match=r"A part of .*/net\.pte is of XNNPACK's format XN02, .* reads XN01"):
        read_pte(written(tmp_path, program(data=(newer, newer))))


@pytest.mark.parametrize("length", [0, 7, 40, 400, -1])
def test_a_file_that_was_cut_is_refused(tmp_path: Path, length: int) -> None:
    (tmp_path / "cut.pte").write_bytes(TWO_PARTS.read_bytes()[:length])
    with pytest.raises(ToolError, match=r"cut\.pte is not a whole \.pte file") as raised:
        read_pte(tmp_path / "cut.pte")
    assert raised.value.exit_code == 4


def test_changed_bytes_end_in_no_other_error(tmp_path: Path) -> None:
    content = TWO_PARTS.read_bytes()
    for place in range(0, 1200, 7):
        path = tmp_path / "changed.pte"
        path.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
        try:
            read_pte(path)
        except ToolError:
            continue


def test_a_program_of_other_methods_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"net\.pte has no method forward: encode\."):
        read_pte(written(tmp_path, Program(0, (Plan("encode"),))))
