"""Why XNNPACK leaves an op, held to what LiteRT's own delegate does with it."""

from __future__ import annotations

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
