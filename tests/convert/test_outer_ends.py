"""int8 files with float32 or uint8 at both ends give what they gave, scaled or shifted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mobilekit.artifacts.inspect import inspect
from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.tflite import TFLiteGraph
from mobilekit.convert.byte_inputs import with_bytes
from mobilekit.convert.outer_ends import with_outer_ends
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
    after = opened(with_outer_ends(INT8, "float32"), tmp_path / "float.tflite")
    assert [(info.name, info.dtype) for info in after.inputs] == [("t0", "float32"), ("t1", "float32")]
    assert [(info.name, info.dtype, info.scale) for info in after.outputs] == [("t2", "float32", None)]
    np.testing.assert_array_equal(after.run(INPUTS)["t2"], before.run(INPUTS)["t2"])
    found = inspect(tmp_path / "float.tflite")
    assert found.ops == {"QUANTIZE": 2, "ADD": 1, "DEQUANTIZE": 1}
    assert found.delegate and (found.delegate.partitions, found.delegate.delegated) == (1, 4)


def test_uint8_is_int8_shifted(tmp_path: Path) -> None:
    """Every number of int8 at the input, and whichever come out: the same numbers plus 128, on XNNPACK."""
    from ai_edge_litert.interpreter import Interpreter

    one, two = Int8((1, 16, 16, 1), 0.02, 5), Int8((1, 16, 16, 1), 0.037, -9)
    content = make_int8_op("MUL", [one, one], two)
    shifted = with_outer_ends(content, "uint8")
    (tmp_path / "shifted.tflite").write_bytes(shifted)
    runtime = LiteRTRuntime(tmp_path / "shifted.tflite")
    assert [(info.dtype, info.zero_point) for info in runtime.inputs] == [("uint8", 133), ("uint8", 133)]
    assert [(info.dtype, info.zero_point) for info in runtime.outputs] == [("uint8", 119)]
    assert runtime.outputs[0].scale == pytest.approx(0.037)
    found = inspect(tmp_path / "shifted.tflite")
    assert found.ops == {"QUANTIZE": 3, "DEQUANTIZE": 3, "MUL": 1}
    assert found.delegate and (found.delegate.partitions, found.delegate.delegated) == (1, 7)

    def run(file: bytes, taken: np.ndarray) -> np.ndarray:
        interpreter = Interpreter(model_content=file, num_threads=1)
        interpreter.allocate_tensors()
        for each in interpreter.get_input_details():
            interpreter.set_tensor(each["index"], taken)
        interpreter.invoke()
        made: np.ndarray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        return made

    numbers = np.arange(-128, 128).reshape(one.shape).astype(np.int8)
    before = run(content, numbers)
    after = run(shifted, (numbers.astype(np.int16) + 128).astype(np.uint8))
    assert len(np.unique(before)) > 80
    np.testing.assert_array_equal(after.astype(np.int16) - 128, before)


def test_inputs_that_are_named_stay(tmp_path: Path) -> None:
    runtime = opened(with_outer_ends(INT8, "uint8", ["t1"]), tmp_path / "one.tflite")
    assert [info.dtype for info in runtime.inputs] == ["uint8", "int8"]


def test_ends_in_float_stay(tmp_path: Path) -> None:
    content = make_tflite([("ADD", ["x", "x"], "y")], (1, 4), ["y"])
    assert TFLiteGraph(with_outer_ends(content, "float32")).kinds == ["ADD"]


def test_bytes_go_before_floats(tmp_path: Path) -> None:
    """As an int8 file of `dtype: uint8` with `io: float32` has them."""
    runtime = opened(with_bytes(with_outer_ends(INT8, "float32"), ["t0"]), tmp_path / "bytes.tflite")
    assert [info.dtype for info in runtime.inputs] == ["uint8", "float32"]
    whole = {"t0": np.ones((1, 3, 2, 2), np.float32), "t1": INPUTS["t1"][:1]}
    before = opened(INT8, tmp_path / "int8.tflite")
    np.testing.assert_array_equal(runtime.run(whole)["t2"], before.run(whole)["t2"])


@pytest.mark.slow
@pytest.mark.parametrize(("io", "taken"), [("float32", "float32"), ("uint8", "uint8")])
def test_an_export_with_other_ends(cli: Cli, tmp_path: Path, io: str, taken: str) -> None:
    recipe = tmp_path / "ends.yaml"
    recipe.write_text(
        f"{TINY_RECIPE.read_text()}\nint8: {{io: {io}}}\n".replace("size: 24", f"size: 24, dtype: {taken}")
    )
    done = cli("export", TINY, "--recipe", recipe, "--precision", "float32,int8", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    found = inspect(tmp_path / "out" / "model.int8.tflite")
    assert [tensor.dtype for tensor in (*found.inputs, *found.outputs)] == [taken, io]
    assert found.delegate and found.delegate.partitions == 1
