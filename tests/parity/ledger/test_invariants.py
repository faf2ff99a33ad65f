"""What outputs must be, on outputs made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobilekit.parity.ledger.invariants import beyond_chance, check, probabilities_of
from mobilekit.parity.ledger.result import BrokenInvariant
from mobilekit.store.stages import TFLITE_STAGES, Stage

Floats = NDArray[np.float32]
FORMATS = TFLITE_STAGES


def _logits(count: int = 40, classes: int = 6, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(0, 3, (count, classes)).astype(np.float32)


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return (powers / powers.sum(1, keepdims=True)).astype(np.float32)


def _names(found: tuple[BrokenInvariant, ...]) -> list[str]:
    return [finding.invariant for finding in found]


@pytest.mark.parametrize("stage", FORMATS)
def test_small_errors_break_nothing(stage: Stage) -> None:
    logits = _logits()
    noisy = logits + np.random.default_rng(1).normal(0, 0.1, logits.shape).astype(np.float32)
    assert check(stage, logits, noisy, 0.1) == ()
    assert check(stage, logits, logits.copy(), 0.0) == ()


@pytest.mark.parametrize("stage", FORMATS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_are_finite(stage: Stage, bad: float) -> None:
    broken = _logits()
    broken[3, 2] = bad
    (found,) = check(stage, _logits(), broken, 0.1)
    assert (found.invariant, found.text) == ("finite", "some outputs are not finite numbers: 1 of 240")
    assert "mobilekit ranges" in found.advice


@pytest.mark.parametrize("stage", FORMATS)
def test_a_dead_output_is_named(stage: Stage) -> None:
    dead = _logits()
    dead[:, 4] = 0.5
    (found,) = check(stage, _logits(), dead, 0.1)
    spread = np.ptp(_logits()[:, 4])
    assert found.invariant == "dead"
    assert found.text.startswith("1 of 6 outputs are dead: output 4 is 0.5 for every input, ")
    assert found.text.endswith(f"varies by {spread:.3g}")
    assert ("keep_float" in found.advice) == (stage == "tflite-int8")
    assert check(stage, dead, dead.copy(), 0.1) == (), "dead in the reference too"
    assert check(stage, _logits(), dead, spread / 4 + 0.01) == (), "what the limits allow explains it"


def test_channels_of_maps_die_as_well() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    dead = maps.copy()
    dead[:, 1] = 7
    (found,) = check(Stage("onnx"), maps, dead, 0.01)
    assert "output 1 is 7 for every input" in found.text


@pytest.mark.parametrize("stage", FORMATS)
def test_constant_outputs_are_told_once(stage: Stage) -> None:
    same = np.repeat(_logits()[:1], 40, axis=0)
    (found,) = check(stage, _logits(), same, 0.1)
    assert found.invariant == "constant"
    assert "the same for every input, where those compared with vary by up to" in found.text
    assert check(stage, same, same.copy(), 0.1) == ()
    assert check(stage, _logits(1), _logits(1) + 1, 0.1) == (), "one input shows nothing"


@pytest.mark.parametrize("sign", [1, -1])
def test_saturated_outputs(sign: int) -> None:
    logits = _logits()
    cut = np.minimum(sign * logits, 3) * sign
    (found,) = check(Stage("tflite-int8"), logits, cut, 0.1)
    beyond = int((sign * logits > 3.4).any(1).sum())
    end = "upper" if sign > 0 else "lower"
    assert found.invariant == "saturated"
    assert found.text.startswith(f"{beyond} of 40 inputs have outputs stuck at {sign * 3}, the {end} end of their")
    assert f"go to {sign * (sign * logits).max():.3g}" in found.text
    assert "--calibration" in found.advice
    assert check(Stage("tflite-int8"), cut, cut.copy(), 0.1) == ()


def test_a_few_inputs_beyond_the_range_are_chance() -> None:
    logits = np.clip(_logits(360), -4, 4)
    logits[:5, 0] = np.linspace(5, 9, 5)
    cut = np.minimum(logits, 4)
    assert check(Stage("tflite-int8"), logits, cut, 0.1, calibrated=100) == ()
    assert _names(check(Stage("tflite-int8"), logits, cut, 0.1, calibrated=10_000)) == ["saturated"]
    assert _names(check(Stage("tflite-float32"), logits, cut, 0.1)) == ["saturated"], "there is no range to go beyond"


def test_beyond_chance_by_simulation() -> None:
    random = np.random.default_rng(0)
    draws = random.random((4000, 8 + 84))
    counts = (draws[:, :8] > draws[:, 8:].max(1, keepdims=True)).sum(1)
    k = beyond_chance(8, 84)
    assert k == 3
    assert (counts >= k).mean() < 0.002 < (counts >= k - 2).mean()
    assert beyond_chance(1, 84) == 2, "one alone may always be chance"
    assert 20 < beyond_chance(360, 100) < 36


def test_probabilities_are_known_by_their_values() -> None:
    logits = _logits()
    assert probabilities_of(logits) is None
    assert probabilities_of(_softmax(logits)) == "softmax"
    assert probabilities_of(np.log(_softmax(logits))) == "log_softmax"
    assert probabilities_of(_softmax(logits) * np.float32(1.001)) is None
    maps = _softmax(_logits(2 * 9, 5)).reshape(2, 3, 3, 5)
    assert probabilities_of(maps) == probabilities_of(maps.transpose(0, 3, 1, 2)) == "softmax"


def test_probabilities_stay_probabilities() -> None:
    truth = _softmax(_logits())
    assert check(Stage("tflite-float32"), truth, truth, 0.1, "softmax") == ()
    (found,) = check(Stage("tflite-float32"), truth, truth * np.float32(1.01), 0.1, "softmax")
    assert found.text.startswith("the probabilities of an input sum to 1.01, not to 1; rounding explains ")
    logs = np.log(truth)
    assert check(Stage("onnx"), logs, logs, 0.1, "log_softmax") == ()
    (found,) = check(Stage("onnx"), logs, logs + np.float32(0.01), 0.1, "log_softmax")
    assert "exponentials of the log-probabilities" in found.text


@given(st.integers(0, 2**32 - 1), st.integers(2, 300), st.floats(0.1, 20))
def test_int8_probabilities_sum_to_one_to_half_a_step_each(seed: int, classes: int, size: float) -> None:
    logits = np.random.default_rng(seed).normal(0, size, (5, classes)).astype(np.float32)
    truth = _softmax(logits)
    rounded = np.clip(np.round(truth * 256), 0, 255).astype(np.float32) / 256
    assert check(Stage("tflite-int8"), truth, rounded, 1.0, "softmax") == ()
    logs = np.log(np.maximum(truth, np.float32(1e-30)))
    coarse = np.clip(np.round(logs * 16), -256, 0).astype(np.float32) / 16
    assert check(Stage("tflite-int8"), logs, coarse, 100.0, "log_softmax") == ()


@given(st.integers(0, 2**32 - 1), st.integers(2, 300), st.floats(0.1, 20))
def test_int16_log_probabilities_sum_to_one_to_their_step(seed: int, classes: int, size: float) -> None:
    """Their range is twice the largest value of the calibration, here that of these inputs."""
    logits = np.random.default_rng(seed).normal(0, size, (5, classes)).astype(np.float32)
    logs = np.log(np.maximum(_softmax(logits), np.float32(1e-30)))
    step = 2 * np.abs(logs).max() / 2**15
    coarse = (np.round(logs / step) * step).astype(np.float32)
    assert check(Stage("tflite-int16x8"), logs, coarse, 100.0, "log_softmax") == ()
    (found,) = check(Stage("tflite-int16x8"), logs, coarse - np.float32(4 * step), 100.0, "log_softmax")
    assert found.invariant == "probabilities"


def test_a_sum_of_23_is_found() -> None:
    truth = _softmax(_logits(4, 80))
    broken = np.full((4, 80), 23.4 / 80, np.float32)
    found = check(Stage("tflite-int8"), truth, broken, None, "softmax")
    assert _names(found) == ["probabilities"]
    assert "sum to 23.4, not to 1" in found[0].text
    assert "keep_float" in found[0].advice


@pytest.mark.parametrize("axis", [1, 2])
def test_scores_beside_boxes_that_8_bits_leave_few_values_of(axis: int) -> None:
    """One scale for 0 to 64 and for 0 to 1 is .25: the scores are 0, .25, ... 1."""
    draw = np.random.default_rng(0)
    parts = np.concatenate([64 * draw.random((3, 4, 50)), draw.random((3, 2, 50))], axis=1).astype(np.float32)
    rounded = (np.rint(parts * 4) / 4).astype(np.float32)
    reference, candidate = (each if axis == 1 else each.swapaxes(1, 2) for each in (parts, rounded))
    found = {each.invariant: each for each in check(Stage.TFLITE_INT8, reference, candidate, 0.2)}["levels"]
    assert found.text.startswith(f"2 of 6 parts along axis {axis} have fewer than 16 different values left: part 4 ")
    assert "has 5, where the one compared with has 150" in found.text
    assert found.advice.endswith("return them apart, each as an output of its own.")
    assert not check(Stage.TFLITE_FLOAT16, reference, candidate, 0.2)


def test_a_part_that_is_mostly_noise_fails_beside_ones_that_are_not() -> None:
    draw = np.random.default_rng(0)
    reference = draw.standard_normal((4, 3, 10, 10)) * np.array([10, 10, 1.0]).reshape(3, 1, 1)
    for error, expected in ((0.2, {}), (0.5, {"noise"})):  # 14 and 6 dB of the third
        candidate = reference + error * draw.standard_normal(reference.shape)
        found = {
            one.invariant: one.text
            for one in check(Stage.TFLITE_INT8, np.float32(reference), np.float32(candidate), 1.0)
        }
        assert found.keys() == set(expected)
    assert found["noise"].startswith(
        "1 of 3 parts along axis 1 have less than 10 dB of signal to noise: part 2 has 5.9"
    )
    assert not check(Stage.TFLITE_FLOAT16, np.float32(reference), np.float32(candidate), 1.0)
    everywhere = reference + 6 * draw.standard_normal(reference.shape)  # which the limit of all of it tells
    assert not check(Stage.TFLITE_INT8, np.float32(reference), np.float32(everywhere), 6.0)


def test_parts_are_to_be_returned_apart_only_where_their_common_scale_is_to_blame() -> None:
    draw = np.random.default_rng(0)
    reference = (draw.standard_normal((8, 2, 20, 20)) * np.array([4, 1.0]).reshape(2, 1, 1)).astype(np.float32)
    few, noisy = reference.copy(), reference + 0.5 * draw.standard_normal(reference.shape)
    few[:, 1] = np.rint(few[:, 1])  # 1 of 256 levels in 30: an op before has lost the others
    for broken, invariant in ((few, "levels"), (noisy, "noise")):
        step = np.ptp(broken) / 255
        candidate = (np.rint(broken / step) * step).astype(np.float32)
        (found,) = check(Stage.TFLITE_INT8, reference, candidate, 1.0)
        assert (found.invariant, found.advice) == (invariant, "")


def test_one_number_an_input_has_no_parts() -> None:
    numbers = np.random.default_rng(0).standard_normal(200).astype(np.float32)
    assert not check(Stage.TFLITE_INT8, numbers, numbers + np.float32(0.01), 0.02)


@given(st.integers(0, 99), st.floats(0.2, 1))
def test_parts_that_use_their_share_of_the_levels_are_fine(seed: int, share: float) -> None:
    draw = np.random.default_rng(seed)
    reference = np.stack([draw.uniform(-1, 1, (4, 60)), share * draw.uniform(-1, 1, (4, 60))], axis=1)
    candidate = np.rint(reference * 127) / 127
    assert not check(Stage.TFLITE_INT8, np.float32(reference), np.float32(candidate), 0.01)
