"""The error of one tensor, against figures worked out by hand and a formula of its own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mobilekit.parity.layers.tensor_error import ErrorSum, TensorError


def error_of(signal: np.ndarray, candidate: np.ndarray) -> TensorError:
    total = ErrorSum()
    total.add(signal, candidate)
    return total.result()


def test_figures_by_hand() -> None:
    """Channel 0: signal 3^2 + 4^2 = 25, noise 0.5^2; channel 1: signal 100, noise 1 + 9 = 10."""
    signal = np.array([[[[3.0, 4.0]], [[10.0, 0.0]]]], np.float32)
    candidate = np.array([[[[3.5, 4.0]], [[11.0, 3.0]]]], np.float32)
    error = error_of(signal, candidate)
    assert error.max_abs == 3.0
    assert error.relative_l2 == pytest.approx(math.sqrt(10.25 / 125))
    assert error.sqnr_db == pytest.approx(10 * math.log10(125 / 10.25))
    assert (error.worst_channel, error.worst_channel_db) == (1, pytest.approx(10.0))  # 10 log10(100 / 10)


def test_rounding_to_256_steps_has_the_textbooks_noise() -> None:
    """A uniform signal over its whole range: 6.02 dB a bit (W. R. Bennett, Spectra of quantized signals, 1948)."""
    signal = np.random.default_rng(0).uniform(-1, 1, (4, 8, 32, 32)).astype(np.float32)
    step = 2 / 256
    error = error_of(signal, (np.round(signal / step) * step).astype(np.float32))
    assert error.sqnr_db == pytest.approx(20 * math.log10(2) * 8, abs=0.1)


def test_channels_are_the_last_axis_of_tokens() -> None:
    signal = np.ones((1, 5, 3), np.float32)
    candidate = signal.copy()
    candidate[:, :, 2] += 1
    error = error_of(signal, candidate)
    assert (error.worst_channel, error.worst_channel_db) == (2, 0.0)


def test_equal_tensors_have_no_ratio() -> None:
    error = error_of(np.ones((2, 3), np.float32), np.ones((2, 3), np.float32))
    assert error.to_json() == {
        "max_abs": 0.0,
        "relative_l2": 0.0,
        "sqnr_db": None,
        "worst_channel_db": None,
        "worst_channel": None,
        "values": 6,
    }


def test_dead_signals_and_values_that_are_not_finite() -> None:
    zeros, ones = np.zeros((1, 2, 2, 2), np.float32), np.ones((1, 2, 2, 2), np.float32)
    assert error_of(zeros, zeros).relative_l2 == 0.0
    assert error_of(zeros, ones).relative_l2 == math.inf
    for value in (np.nan, np.inf):
        broken = ones.copy()
        broken[0, 1, 0, 0] = value
        error = error_of(ones, broken)
        assert not error.relative_l2 <= 1e9
        assert error.max_abs == math.inf
        assert error.to_json()["relative_l2"] is None


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2\) and \(1, 3\)"):
        error_of(np.zeros((1, 2), np.float32), np.zeros((1, 3), np.float32))


_TENSORS = arrays(np.float32, (3, 4, 2, 2), elements=st.floats(-100, 100, width=32))


@given(_TENSORS, _TENSORS)
def test_inputs_one_by_one_are_as_all_at_once(signal: np.ndarray, candidate: np.ndarray) -> None:
    total = ErrorSum()
    for number in range(len(signal)):
        total.add(signal[number : number + 1], candidate[number : number + 1])
    one, all_at_once = total.result(), error_of(signal, candidate)
    assert one.max_abs == all_at_once.max_abs == np.abs(candidate - signal).max()
    assert one.relative_l2 == pytest.approx(all_at_once.relative_l2, rel=1e-12)
    power = float(np.linalg.norm(signal.astype(float)))
    if power:
        expected = float(np.linalg.norm(candidate.astype(float) - signal)) / power
        assert one.relative_l2 == pytest.approx(expected, rel=2**-23)  # each difference is rounded once
