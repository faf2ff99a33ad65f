"""Damaged files of models, a sample of each kind: all end in two lines, and none in LiteRT's hands.

A file that LiteRT itself would crash on is never opened here: what is tried is found in its structure before.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.artifacts.tflite import pack, unpack
from mobilekit.artifacts.tflite_check import damage_in
from tests.command_line import Cli
from tests.conftest import ROOT

BUNDLE = ROOT / "tests" / "data" / "written_by_0_1" / "bundle"
SMALL = ROOT / "tests" / "data" / "lab_session" / "small.tflite"


def _name_of_tensor(model: Any) -> None:
    model.subgraphs[0].tensors[3].name = b"caf\xe9"


def _name_in_signature(model: Any) -> None:
    model.signatureDefs[0].inputs[0].name = b"\xff"


def _name_in_metadata(model: Any) -> None:
    model.metadata[0].name = b"\x80in"


def _name_of_graph(model: Any) -> None:
    model.subgraphs[0].name = b"\xfe"


def _input_without_name(model: Any) -> None:
    model.subgraphs[0].tensors[0].name = b""


def _no_graph(model: Any) -> None:
    model.subgraphs = []


def _no_tensors(model: Any) -> None:
    model.subgraphs[0].tensors = []


def _buffer(model: Any) -> None:
    model.subgraphs[0].tensors[3].buffer = 1000


def _buffer_of_metadata(model: Any) -> None:
    model.metadata[0].buffer = 1000


def _shape(model: Any) -> None:
    model.subgraphs[0].tensors[3].shape = np.array([1 << 20, 1 << 20], np.int32)


def _negative_shape(model: Any) -> None:
    model.subgraphs[0].tensors[3].shape = np.array([-3], np.int32)


def _kind_of_op(model: Any) -> None:
    model.subgraphs[0].operators[1].opcodeIndex = 77


def _input_of_op(model: Any) -> None:
    model.subgraphs[0].operators[1].inputs = np.array([0, 99], np.int32)


def _empty_op(model: Any) -> None:
    model.subgraphs[0].operators[1].inputs = model.subgraphs[0].operators[1].outputs = np.array([], np.int32)


def _output_of_graph(model: Any) -> None:
    model.subgraphs[0].outputs = np.array([-5], np.int32)


def _tensor_of_signature(model: Any) -> None:
    model.signatureDefs[0].outputs[0].tensorIndex = 500


def _graph_of_signature(model: Any) -> None:
    model.signatureDefs[0].subgraphIndex = 2


KINDS: dict[Callable[[Any], None], str] = {
    _name_of_tensor: "the name of tensor 3 is not UTF-8",
    _name_in_signature: "a name in the signature is not UTF-8",
    _name_in_metadata: "a name in its metadata is not UTF-8",
    _name_of_graph: "a name of an op or a graph is not UTF-8",
    _input_without_name: "tensor 0, which is an input or output, has no name",
    _no_graph: "it is not a whole TFLite file",
    _no_tensors: "names tensor 0, and it has 0",
    _buffer: "tensor 3 names buffer 1000, and it has 21",
    _buffer_of_metadata: "its metadata names buffer 1000",
    _shape: "tensor 3 has the shape 1048576x1048576",
    _negative_shape: "tensor 3 has the shape -3",
    _kind_of_op: "op 1 names kind 77",
    _input_of_op: "op 1 names tensor 99",
    _empty_op: "op 1 takes and makes nothing",
    _output_of_graph: "the graph's inputs or outputs name tensor -5",
    _tensor_of_signature: "the signature names tensor 500",
    _graph_of_signature: "the signature names graph 2, and it has 1",
}


@pytest.mark.parametrize("damage", KINDS, ids=lambda damage: damage.__name__.strip("_"))
def test_each_kind_is_told_in_two_lines(cli: Cli, tmp_path: Path, damage: Callable[[Any], None]) -> None:
    model = unpack(SMALL.read_bytes())
    damage(model)
    path = tmp_path / "damaged.tflite"
    path.write_bytes(pack(model))
    said = cli("inspect", path)
    assert said.returncode == 4
    assert KINDS[damage] in said.stderr
    _is_two_lines(said.stderr, path)


def _is_two_lines(stderr: str, path: Path) -> None:
    lines = stderr.splitlines()
    assert len(lines) == 2
    assert path.name in lines[0]
    assert "fault of mobilekit" not in lines[1]


@pytest.mark.parametrize("path", [SMALL, *sorted(BUNDLE.glob("*.tflite"))], ids=lambda path: path.name)
def test_a_whole_file_has_no_damage(path: Path) -> None:
    assert damage_in(path.read_bytes()) is None


@pytest.mark.parametrize("name", ["model.int8.tflite", "model.onnx"])
@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.6, 0.9])
def test_a_file_that_was_cut_is_told(cli: Cli, tmp_path: Path, name: str, share: float) -> None:
    content = (BUNDLE / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: int(len(content) * share)])
    said = cli("inspect", path)
    assert said.returncode == 4
    _is_two_lines(said.stderr, path)


@given(st.integers(0, SMALL.stat().st_size - 1), st.binary(min_size=1, max_size=16))
def test_no_damage_is_too_much_for_the_check(place: int, garbage: bytes) -> None:
    content = SMALL.read_bytes()
    found = damage_in(content[:place] + garbage + content[place + len(garbage) :])
    assert found is None or found
