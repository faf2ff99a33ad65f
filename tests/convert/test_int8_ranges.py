"""Which range a tensor gets of what it held on calibration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobilekit.artifacts.tflite import TFLiteGraph
from mobilekit.convert.calibration import calibrated
from mobilekit.convert.int8_ranges import FEWEST, RULES, Seen
from tests.tflite_by_hand import make_tflite

PICTURES = 56


def seen(pictures: NDArray[np.float32]) -> Seen:
    one = Seen()
    for picture in pictures:
        one.add(picture)
    return one


def normal(count: int, size: int = 500) -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((count, size), dtype=np.float32)


def with_one_wide(pictures: NDArray[np.float32], times: float) -> NDArray[np.float32]:
    """Return pictures of which one has values so many times as large: one of 8 sampled ones."""
    return np.concatenate([pictures[:-4], pictures[-4:-3] * np.float32(times), pictures[-3:]])


def test_one_picture_does_not_make_the_range_of_all() -> None:
    pictures = with_one_wide(normal(PICTURES), 100)
    low, high = seen(pictures).fitted(seen(pictures).best())
    assert -low < 50 and high < 50
    assert seen(pictures).whole[1] > 250


def test_pictures_alike_keep_their_ends() -> None:
    """Sigmoid gates all over 0 to 1: what is cut there costs all pictures."""
    pictures = np.random.default_rng(2).integers(0, 2, (PICTURES, 500)).astype(np.float32) + normal(PICTURES) * 1e-3
    low, high = seen(pictures).fitted(seen(pictures).best())
    assert high > 1.0 and low < 0.0


@pytest.mark.parametrize("count", [1, FEWEST - 1])
def test_few_pictures_leave_the_whole_range(count: int) -> None:
    one = seen(with_one_wide(normal(PICTURES), 100)[-count:] if count > 3 else normal(count))
    assert one.best() == "min-max"
    assert one.fitted("min-max") == one.whole


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=40), st.sampled_from(sorted(RULES)))
def test_no_range_goes_beyond_what_was_seen(values: list[float], rule: str) -> None:
    one = seen(np.float32(values)[:, None])
    low, high = one.fitted(rule)
    assert min(values) - 1e-3 <= low <= high + 1e-3 <= max(values) + 2e-3


def test_constant_and_infinite_values_have_finite_ranges() -> None:
    zeros = seen(np.zeros((PICTURES, 3), np.float32))
    assert zeros.fitted(zeros.best()) == (0.0, 0.0)
    wild = seen(np.tile(np.float32([np.nan, np.inf, -1]), (PICTURES, 1)))
    low, high = wild.fitted(wild.best())
    assert low == -1.0 and np.isfinite(high)


def test_inputs_outputs_and_what_is_moved_to_an_output_are_never_cut() -> None:
    pictures = with_one_wide(normal(PICTURES, 4), 100)
    ops = [("NEG", ["x"], "inner"), ("ABS", ["inner"], "size"), ("NEG", ["size"], "minus"), ("RESHAPE", ["minus"], "out")]
    graph = TFLiteGraph(calibrated(make_tflite(ops, (1, 4), ["out"]), {"x": pictures}))
    ranges = {graph.name(number): graph.tensors[number].quantization for number in graph.computed()}
    whole = float(np.abs(pictures).max())
    assert ranges["x"].max[0] - ranges["x"].min[0] == np.float32(pictures.max() - pictures.min())
    assert ranges["minus"].min[0] == ranges["out"].min[0] == -np.float32(whole)
    assert ranges["size"].max[0] < whole / 2, "what lies inside is chosen"


def test_the_whole_range_can_be_asked_for() -> None:
    pictures = with_one_wide(normal(PICTURES, 4), 100)
    content = make_tflite([("ABS", ["x"], "size"), ("NEG", ["size"], "out")], (1, 4), ["out"])
    graph = TFLiteGraph(calibrated(content, {"x": pictures}, chooses_ranges=False))
    (size,) = (graph.tensors[number] for number in graph.computed() if graph.name(number) == "size")
    assert size.quantization.max[0] == np.abs(pictures).max()
