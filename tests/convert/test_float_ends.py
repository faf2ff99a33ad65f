"""int8 files with float32 at both ends give what they gave, scaled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mobilekit.artifacts.inspect import inspect
from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.tflite import TFLiteGraph
from mobilekit.convert.byte_inputs import with_bytes
from mobilekit.convert.float_ends import with_float_ends
from tests.conftest import Cli
from tests.tflite_by_hand import Int8, make_int8_op, make_tflite
from tests.tiny import TINY, TINY_RECIPE

MADE = Int8((1, 2, 2, 3), 0.05, -7)
INT8 = make_int8_op("ADD", [Int8((1, 2, 2, 3), 0.02, 5), Int8((1, 2, 2, 3), 0.03, -4)], MADE)
INPUTS = {name: np.random.default_rng(0).uniform(-2, 2, (4, 3, 2, 2)).astype(np.float32) for name in ("t0", "t1")}


def opened(content: bytes, path: Path) -> LiteRTRuntime:
    path.write_bytes(content)
    return LiteRTRuntime(path)


def test_values_are_those_of_the_int8_file(tmp_path: Path) -> None:
    before = opened(INT8, tmp_path / "int8.tflite")
    after = opened(with_float_ends(INT8), tmp_path / "float.tflite")
    assert [(info.name, info.dtype) for info in after.inputs] == [("t0", "float32"), ("t1", "float32")]
    assert [(info.name, info.dtype, info.scale) for info in after.outputs] == [("t2", "float32", None)]
    np.testing.assert_array_equal(after.run(INPUTS)["t2"], before.run(INPUTS)["t2"])
    found = inspect(tmp_path / "float.tflite")
    assert found.ops == {"QUANTIZE": 2, "ADD": 1, "DEQUANTIZE": 1}
    assert found.delegate and (found.delegate.partitions, found.delegate.delegated) == (1, 4)


def test_ends_in_float_stay(tmp_path: Path) -> None:
    content = make_tflite([("ADD", ["x", "x"], "y")], (1, 4), ["y"])
    assert TFLiteGraph(with_float_ends(content)).kinds == ["ADD"]


def test_bytes_go_before_floats(tmp_path: Path) -> None:
    """As an int8 file of `dtype: uint8` with `io: float32` has them."""
    runtime = opened(with_bytes(with_float_ends(INT8), ["t0"]), tmp_path / "bytes.tflite")
    assert [info.dtype for info in runtime.inputs] == ["uint8", "float32"]
    whole = {"t0": np.ones((1, 3, 2, 2), np.float32), "t1": INPUTS["t1"][:1]}
    before = opened(INT8, tmp_path / "int8.tflite")
    np.testing.assert_array_equal(runtime.run(whole)["t2"], before.run(whole)["t2"])


@pytest.mark.slow
def test_an_export_with_floats_at_both_ends(cli: Cli, tmp_path: Path) -> None:
    recipe = tmp_path / "float.yaml"
    recipe.write_text(f"{TINY_RECIPE.read_text()}\nint8: {{io: float32}}\n")
    done = cli("export", TINY, "--recipe", recipe, "--precision", "float32,int8", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    found = inspect(tmp_path / "out" / "model.int8.tflite")
    assert {tensor.dtype for tensor in (*found.inputs, *found.outputs)} == {"float32"}
    assert found.delegate and found.delegate.partitions == 1
