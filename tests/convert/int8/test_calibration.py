"""The ranges that int8 gets are those of the tensors, whatever the runtime does with its memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilekit.artifacts.tflite import TFLiteGraph
from mobilekit.convert.int8.calibration import observe, with_ranges
from mobilekit.convert.tasks.quantize import load_calibration
from tests.tflite_by_hand import make_tflite

SHAPES = {"image": (2, 3, 4, 5), "tokens": (2, 6, 7), "prior": (2, 4)}
INPUTS = np.float32([[-8, -1, 2, 4], [0, 1, 3, 6]])


def with_whole_ranges(content: bytes, calibration: Mapping[str, NDArray[np.float32]]) -> bytes:
    return with_ranges(content, observe(content, calibration).whole_ranges())


def ranges_of(content: bytes) -> dict[str, tuple[float, float]]:
    graph = TFLiteGraph(content)
    marked = [(graph.name(i), tensor.quantization) for i, tensor in enumerate(graph.tensors)]
    return {name: (float(q.min[0]), float(q.max[0])) for name, q in marked if q is not None and q.min is not None}


def test_a_branch_has_its_own_range_and_not_that_of_the_sum() -> None:
    tenth = {"tenth": np.float32([0.1])}
    content = make_tflite([("MUL", ["x", "tenth"], "branch"), ("ADD", ["branch", "x"], "sum")], (1, 4), ["sum"], tenth)
    ranges = ranges_of(with_whole_ranges(content, {"x": INPUTS}))
    assert set(ranges) == {"x", "branch", "sum"}, "constants have none"
    assert ranges["x"] == (-8, 6)
    assert ranges["branch"] == (pytest.approx(-0.8), pytest.approx(0.6))
    assert ranges["sum"] == (pytest.approx(-8.8), pytest.approx(6.6))


@pytest.mark.parametrize(("others", "low"), [((), -3.0), (("swish", "x"), -8.0)])
def test_what_hard_swishes_alone_read_begins_at_minus_3(others: tuple[str, ...], low: float) -> None:
    ops = [("ABS", ["x"], "size"), ("NEG", ["size"], "below"), ("HARD_SWISH", ["below"], "swish")]
    more = [("ADD", ["below", "swish"], "sum")] if others else [("ADD", ["swish", "x"], "sum")]
    ranges = ranges_of(with_whole_ranges(make_tflite([*ops, *more], (1, 4), ["sum"]), {"x": INPUTS}))
    assert ranges["below"] == (low, 0.0)
    assert ranges["size"] == (0.0, 8.0)


def test_an_output_keeps_its_range_though_a_hard_swish_reads_it_too() -> None:
    content = make_tflite([("NEG", ["x"], "minus"), ("HARD_SWISH", ["minus"], "swish")], (1, 4), ["minus", "swish"])
    assert ranges_of(with_whole_ranges(content, {"x": INPUTS}))["minus"] == (-6.0, 8.0)


def test_nothing_else_of_the_file_changes() -> None:
    content = make_tflite([("NEG", ["x"], "minus")], (1, 4), ["minus"], {"unused": np.float32([1, 2])})
    before, after = TFLiteGraph(content), TFLiteGraph(with_whole_ranges(content, {"x": INPUTS}))
    assert (after.kinds, after.before, after.results) == (before.kinds, before.before, before.results)
    assert [after.name(i) for i in range(3)] == ["x", "unused", "minus"]
    assert after.signature_inputs() == {"x": 0}
    assert after.computed() == [0, 2]


def test_values_that_are_not_finite_leave_a_finite_range() -> None:
    content = make_tflite([("DIV", ["x", "x"], "ratio")], (1, 4), ["ratio"])
    low, high = ranges_of(with_whole_ranges(content, {"x": np.float32([[0, 1, 2, 4]])}))["ratio"]
    assert (low, high) == (0.0, 1.0)


def test_calibration_images_are_seen_as_nhwc_and_other_inputs_as_they_are(tmp_path: Path) -> None:
    given = {name: np.arange(np.prod(shape), dtype=np.float32).reshape(shape) for name, shape in SHAPES.items()}
    np.savez(tmp_path / "calibration.npz", **given)
    taken = load_calibration(str(tmp_path / "calibration.npz"))
    assert {name: array.shape for name, array in taken.items()} == {**SHAPES, "image": (2, 4, 5, 3)}
    assert all(taken["image"][n, h, w, c] == given["image"][n, c, h, w] for n, c, h, w in np.ndindex(2, 3, 4, 5))
    for name in ("tokens", "prior"):
        np.testing.assert_array_equal(taken[name], given[name])
