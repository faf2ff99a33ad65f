"""Which range a tensor gets of what it held on calibration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobilekit.artifacts.tflite import TFLiteGraph
from mobilekit.convert.int8.calibration import observe
from mobilekit.convert.int8.ranges import FEWEST, RULES, WHOLE, WITH_ROOM, Seen, choose_rules, is_kept_back
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
    """Return pictures of which one, that is sampled, has values so many times as large."""
    return np.concatenate([pictures[:-4], pictures[-4:-3] * np.float32(times), pictures[-3:]])


def test_one_picture_does_not_make_the_range_of_all() -> None:
    pictures = with_one_wide(normal(PICTURES), 100)
    low, high = seen(pictures).fitted(seen(pictures).best())
    assert -low < 50 and high < 50
    assert seen(pictures).fitted("min-max")[1] > 250


def test_no_picture_pays_where_all_are_spared() -> None:
    pictures = normal(PICTURES)
    pictures[::5] *= 3  # some in each fold, which a range for most pictures cuts
    one = seen(pictures)
    whole = one.fitted("min-max")
    assert one.fitted(one.best())[1] < 0.95 * whole[1]
    assert one.fitted(one.best(spares_all=True)) == pytest.approx(whole, rel=0.05)


def test_pictures_alike_keep_their_ends() -> None:
    """Sigmoid gates all over 0 to 1: what is cut there costs all pictures."""
    pictures = np.random.default_rng(2).integers(0, 2, (PICTURES, 500)).astype(np.float32) + normal(PICTURES) * 1e-3
    low, high = seen(pictures).fitted(seen(pictures).best())
    assert high > 1.0 and low < 0.0


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


def test_pictures_kept_back_make_no_range() -> None:
    pictures = normal(PICTURES)
    pictures[[run for run in range(PICTURES) if is_kept_back(run)]] *= 1000
    one = seen(pictures)
    assert [run for run in range(PICTURES) if is_kept_back(run)] == [1, 9, 17, 25, 33, 41, 42, 50]
    assert one.fitted("min-max", with_kept_back=False)[1] < 10
    assert one.fitted("min-max")[1] > 1000
    assert not any(is_kept_back(run) for run in one.samples)


def test_inputs_are_whole_and_outputs_have_room_with_what_is_moved_to_them() -> None:
    pictures = with_one_wide(normal(PICTURES, 4), 100)
    ops = [
        ("NEG", ["x"], "inner"),
        ("ABS", ["inner"], "size"),
        ("NEG", ["size"], "minus"),
        ("RESHAPE", ["minus"], "out"),
    ]
    content = make_tflite(ops, (1, 4), ["out"])
    graph = TFLiteGraph(content)
    rules = choose_rules(graph, observe(content, {"x": pictures}).seen)
    by_name = {graph.name(number): rule for number, rule in rules.items()}
    assert by_name.pop("size") != "min-max", "what lies inside is chosen"
    assert by_name.pop("inner") != "min-max"
    assert by_name == {"x": WHOLE, "minus": WITH_ROOM, "out": WITH_ROOM}


def test_an_output_of_one_range_by_its_op_needs_no_room() -> None:
    ops = [("NEG", ["x"], "minus"), ("LOGISTIC", ["minus"], "score"), ("RELU6", ["x"], "clamped")]
    content = make_tflite(ops, (1, 4), ["score", "minus", "clamped"])
    graph = TFLiteGraph(content)
    rules = choose_rules(graph, observe(content, {"x": normal(PICTURES, 4)}).seen)
    assert {graph.name(number): rule for number, rule in rules.items()} == {
        "x": WHOLE,
        "minus": WITH_ROOM,
        "score": WHOLE,
        "clamped": WHOLE,
    }


def test_the_widest_rule_is_for_ranges_that_spare_all_pictures() -> None:
    values, one = np.random.default_rng(0), Seen()
    for picture in range(3 * FEWEST):
        wide = 1.5 if picture % 11 == 10 else 1
        one.add(wide * values.uniform(-1, 1, 256).astype(np.float32))
    noise = {rule: one._unseen_noise(sigmas).mean() for rule, sigmas in RULES.items()}
    assert min(noise, key=lambda rule: noise[rule]) == "mean + 3 sigma"
    assert one.best() == WHOLE


def test_room_is_two_deviations_of_the_pictures_own_ends() -> None:
    one = Seen()
    for high in (1, 2, 3, 6):
        one.add(np.float32([0, high]))
    assert one.fitted(WITH_ROOM) == pytest.approx((0, 6 + 2 * np.std([1, 2, 3, 6])))  # where no end moves, is none
    assert one.fitted(WHOLE) == (0, 6)
