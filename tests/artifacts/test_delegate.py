"""Why XNNPACK leaves an op, held to what LiteRT's own delegate does with it."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from mobilekit.artifacts.delegate import MOST_JOINED, describe_delegate
from tests.tflite_by_hand import make_tflite


@pytest.mark.parametrize("count", [2, MOST_JOINED, MOST_JOINED + 1])
@pytest.mark.parametrize("last", ["h", "x"], ids=["one tensor", "two tensors"])
def test_concatenations_are_left_for_their_count_alone(count: int, last: str) -> None:
    joined = [*["h"] * (count - 1), last]
    content = make_tflite([("ABS", ["x"], "h"), ("CONCATENATION", joined, "y")], (1, 4), ["y"])
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    reasons = [each.reason for each in describe_delegate(interpreter).undelegated]
    assert reasons == ([f"XNNPACK joins up to 5 tensors, and this CONCATENATION has {count}"] if count > 5 else [])


@pytest.mark.parametrize(("taken", "made"), [("float32", "int16"), ("int16", "float32"), ("int16", "int16")])
def test_what_goes_to_or_comes_from_int16_has_no_kernel(taken: str, made: str) -> None:
    node = {"index": 0, "op_name": "QUANTIZE", "inputs": [0], "outputs": [1]}

    class Opened:
        def get_tensor_details(self) -> list[dict[str, object]]:
            kinds = enumerate((taken, made))
            return [{"index": number, "name": "t", "dtype": np.dtype(kind).type} for number, kind in kinds]

        def _get_ops_details(self) -> list[dict[str, object]]:
            return [node]

    (left,) = describe_delegate(Opened()).undelegated
    assert left.reason == "XNNPACK has no kernels for int16: LiteRT's own run it"
