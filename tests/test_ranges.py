"""The range that int8 gets is the one with the least error, as an exhaustive search over the values says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobilekit.convert.ranges import POWER, Histogram


def chosen(values: NDArray[np.float32]) -> tuple[float, float]:
    histogram = Histogram(float(values.min()), float(values.max()))
    histogram.add(values)
    return histogram.best_range()


def error(values: NDArray[np.float32], low: float, high: float) -> float:
    """Round to 256 steps of which 0 is one, as int8 does, and return the mean |error| ** POWER."""
    scale = (high - low) / 255
    zero = round(-low / scale)
    rounded = (np.clip(np.round(values / scale), -zero, 255 - zero)) * scale
    return float(np.mean(np.abs(rounded - values) ** POWER))


@settings(max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["normal", "laplace", "uniform", "standard_t"]),
    st.floats(-0.5, 2),
    st.booleans(),
)
def test_it_is_inside_the_full_range_and_no_worse(seed: int, kind: str, shift: float, is_relu: bool) -> None:
    rng = np.random.default_rng(seed)
    draw = rng.standard_t(3, 4000) if kind == "standard_t" else getattr(rng, kind)(size=4000)
    values = np.float32(draw + shift)
    values = np.maximum(values, 0) if is_relu else values
    low, high = chosen(values)
    full_low, full_high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    assert full_low <= min(low, 0) <= 0 <= max(high, 0) <= full_high
    # The choice takes rounded values as evenly spread in a step and counts in 1024 bins.
    assert error(values, min(low, 0), max(high, 0)) <= 1.05 * error(values, full_low, full_high)


def test_a_value_far_off_does_not_cost_all_others() -> None:
    values = np.float32(np.random.default_rng(0).normal(size=(600, 4096)))
    values[0, 0] = 12
    histogram = Histogram(float(values.min()), 12.0)
    for picture in values:
        histogram.add(picture.ravel())
    low, high = histogram.best_range()
    assert high < 9
    assert error(values, low, high) < error(values, float(values.min()), 12)


def test_evenly_spread_values_keep_their_range() -> None:
    assert chosen(np.linspace(-2, 3, 4096, dtype=np.float32)) == (-2.0, 3.0)


@pytest.mark.parametrize("values", [[2.0, 2.0], [0.0, 0.0], [-1.0, -1.0]])
def test_one_value_is_left_as_it_is(values: list[float]) -> None:
    assert chosen(np.float32(values)) == (values[0], values[0])


def test_values_on_one_side_of_0_keep_the_end_beside_it() -> None:
    low, high = chosen(np.linspace(5, 6, 4096, dtype=np.float32))
    assert low == 5.0
    assert high == pytest.approx(6.0)


def test_the_sample_of_many_values_is_the_same_each_time_and_not_of_one_channel() -> None:
    channels = np.float32(np.tile(np.arange(64), (256, 256, 1)))  # NHWC: a stride of 64 would see one of them
    assert chosen(channels) == chosen(channels) == (0.0, 63.0)
