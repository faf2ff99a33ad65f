"""What is in an artifact, as types and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from mobilekit.artifacts.inspect import artifact_summary, inspect
from mobilekit.store.jsonable import to_json
from tests.conftest import ROOT
from tests.tflite_by_hand import make_tflite

SMALL = ROOT / "tests" / "data" / "lab_session" / "small.tflite"


def kept(name: str) -> Any:
    """Return JSON that `mobilekit inspect --json` printed before descriptions were types."""
    return json.loads((ROOT / "tests" / "data" / "json" / name).read_text())


@pytest.fixture
def tflite(tmp_path: Path) -> Path:
    path = tmp_path / "a.tflite"
    path.write_bytes(make_tflite([("ADD", ("x", "x"), "y"), ("RSQRT", ("y",), "z")], (1, 4, 4, 3), ["z"]))
    return path


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3, 4, 4])],
    )
    path = tmp_path / "a.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_the_json_is_what_it_was(tflite: Path, onnx_file: Path) -> None:
    assert to_json(inspect(tflite)) == kept("inspect-tflite.json")
    assert to_json(inspect(onnx_file)) | {"size_bytes": 84} == kept("inspect-onnx.json")
    assert to_json(inspect(SMALL)) == kept("inspect-small.json")
    assert artifact_summary(inspect(tflite)) == kept("inspect-summary.json")


def test_json_comes_back_the_same(tflite: Path) -> None:
    content = to_json(inspect(tflite))
    assert json.loads(json.dumps(content)) == content
