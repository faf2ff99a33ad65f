"""What differs between two files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mobilekit.artifacts.analysis.compare import differences, op_changes
from tests.tflite_by_hand import make_tflite


def test_op_changes() -> None:
    assert op_changes({"CONV_2D": 3, "ADD": 1}, {"CONV_2D": 2, "ADD": 1, "MUL": 4}) == {
        "CONV_2D": (3, 2),
        "MUL": (0, 4),
    }


def test_tflite_files_that_differ_in_an_op_and_a_weight(tmp_path: Path) -> None:
    before, after = tmp_path / "a.tflite", tmp_path / "b.tflite"
    weights = np.arange(4, dtype=np.float32).reshape(1, 4)
    before.write_bytes(make_tflite([("ADD", ["x", "w"], "y")], (1, 4), ["y"], {"w": weights}))
    after.write_bytes(make_tflite([("MUL", ["x", "w"], "y")], (1, 4), ["y"], {"w": weights + 2}))
    assert differences(before, after) == [
        "ADD: 1 -> 0 ops",
        "MUL: 0 -> 1 ops",
        "weights: 1 of 1 constants differ, by 2 in 0/1",
    ]


def test_tflite_files_that_differ_in_names_and_constants(tmp_path: Path) -> None:
    before, after = tmp_path / "a.tflite", tmp_path / "b.tflite"
    before.write_bytes(make_tflite([("ADD", ["x", "x"], "y")], (1, 4), ["y"]))
    after.write_bytes(make_tflite([("ADD", ["x", "x"], "z")], (1, 4), ["z"], {"unused": np.ones(3, np.float32)}))
    found = differences(before, after)
    assert found[0] == "metadata tensor names of graph 0: [b'x', b'y'] -> [b'x', b'unused', b'z']"
    assert found[1] == "weights: 1 constants have no partner of the same name and shape"


def test_other_files_that_differ(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"input": [0, 1], "same": 1}')
    (tmp_path / "b.json").write_text('{"input": [0, 2], "same": 1}')
    assert differences(tmp_path / "a.json", tmp_path / "b.json") == ["metadata input: [0, 1] -> [0, 2]"]
    (tmp_path / "a.json").write_text('{"same": 1, "input": [0, 2]}')
    (phrase,) = differences(tmp_path / "a.json", tmp_path / "b.json")
    assert "the order or layout" in phrase
    (tmp_path / "a.tflite").write_bytes(b"rubbish")
    (phrase,) = differences(tmp_path / "a.tflite", tmp_path / "a.tflite")
    assert phrase.startswith("one of the two cannot be taken apart")
