"""Parts of a graph that int8 leaves in float."""

from __future__ import annotations

import numpy as np
import pytest

from mobilekit.artifacts.float_regions import tensors_to_keep
from tests.tflite_by_hand import make_tflite


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ((), set()),
        (("division",), {"sum", "ratio"}),
        (("attention",), {"weights"}),
        (("normalization",), {"sum", "root", "normal", "shifted"}),
        (("hard-swish",), {"swish"}),
        (("attention", "hard-swish"), {"weights", "swish"}),
        (("residual-add",), {"sum", "shifted"}),
    ],
)
def test_the_tensors_of_a_tflite_file_that_stay(words: tuple[str, ...], kept: set[str]) -> None:
    weights = {"weights_of_layers": np.eye(4, dtype=np.float32), "one": np.ones(1, np.float32)}
    ops = [
        ("FULLY_CONNECTED", ["x", "weights_of_layers"], "first"),
        ("ADD", ["first", "x"], "sum"),
        ("RSQRT", ["sum"], "root"),
        ("MUL", ["sum", "root"], "normal"),
        ("ADD", ["normal", "x"], "shifted"),
        ("FULLY_CONNECTED", ["shifted", "weights_of_layers"], "second"),
        ("DIV", ["second", "sum"], "ratio"),
        ("SOFTMAX", ["second"], "weights"),
        ("HARD_SWISH", ["weights"], "swish"),
        ("ADD", ["swish", "one"], "raised"),
        ("FULLY_CONNECTED", ["raised", "weights_of_layers"], "third"),
    ]
    content = make_tflite(ops, (1, 4), ["third", "ratio"], weights)
    assert tensors_to_keep(content, words) == kept


def test_means_of_places_that_a_softmax_weighs_stay_in_float_with_what_follows() -> None:
    """What is weighed is another map in attention over branches, and no place: that stays in 8 bits."""
    constants = {"places": np.arange(4, dtype=np.float32), "axis": np.array([1], np.int32)}
    constants["weights_of_layers"] = np.eye(4, dtype=np.float32)
    ops = [
        ("FULLY_CONNECTED", ["x", "weights_of_layers"], "map"),
        ("SOFTMAX", ["map"], "shares"),
        ("MUL", ["shares", "places"], "weighted"),
        ("SUM", ["weighted", "axis"], "place"),
        ("MUL", ["map", "shares"], "branches"),
        ("SUM", ["branches", "axis"], "joined"),
        ("ADD", ["place", "one"], "moved"),
    ]
    content = make_tflite(ops, (1, 4), ["moved", "joined"], {**constants, "one": np.ones(1, np.float32)})
    assert tensors_to_keep(content, ["coordinates"]) == {"shares", "weighted", "place", "moved"}
