"""What outputs must be whatever the limits say: finite, alive, and probabilities where they were."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.output_parts import FEWEST_LEVELS, OF_VALUES, different_values, sorted_parts
from mobilekit.convert.int8.ranges import HEADROOM
from mobilekit.parity.ledger.metrics import Floats
from mobilekit.parity.ledger.result import BrokenInvariant
from mobilekit.recipes.schema import BEYOND_8_BITS
from mobilekit.store.stages import Stage

SPREADS = 4
"""An error at either end of a spread is seldom above twice the root mean square that the stage is allowed."""
EPSILON = 2.0**-23
"""float32's spacing above 1. A sum of C terms rounds at most C times, the softmax's own sum as often."""
SLACK = 8
"""Roundings of a kernel's exponential and division, beside those of its sum."""
INT8_SOFTMAX_STEP, INT16_SOFTMAX_STEP = 1 / 256, 1 / 32768
"""Step of a softmax's outputs in int8 and int16 (TensorFlow Lite 8-bit quantization specification)."""
INT8_LOG_SOFTMAX_STEP, INT8_LOG_SOFTMAX_LOW = 16 / 256, -16.0
"""Step of an int8 log-softmax's outputs, and what lower ones are cut to (the same specification)."""
LEAST_DECIBEL = 10.0
"""An error of a third of the values, where a cosine of .95 is."""
CHANCE = 0.001
"""Of inputs like the calibration's, some go beyond its range by chance; so many are not, if they are less likely."""
_RANGES_ARE_SHORT = "Calibrate on more pictures, and more like these: --calibration FOLDER."
_LOST_IN_8_BITS = (
    f"Leave what leads there in float: `int8: {{keep_float: [{', '.join(BEYOND_8_BITS)}]}}` in the recipe."
)

_SHARED_SCALE = "All parts of an output share one scale in int8: return them apart, each as an output of its own."

Probabilities = Literal["softmax", "log_softmax"]
Values = NDArray[np.float64]


def probabilities_of(outputs: Floats) -> Probabilities | None:
    """Return whether outputs, (N, classes, ...) or (..., classes), are those of a softmax or of a log-softmax.

    It is read off the values: they are never negative and sum to one, to float32's rounding, for every input. So it
    holds whatever code made them.
    """
    values = outputs.astype(np.float64)
    if values.ndim < 2 or not np.isfinite(values).all():
        return None
    for kind in ("softmax", "log_softmax"):
        is_possible = values.min() >= 0 if kind == "softmax" else values.max() <= 0
        if is_possible and any(_sums_to_one(values, kind, axis) for axis in _axes(values)):
            return kind
    return None


def check(
    stage: Stage,
    reference: Floats,
    candidate: Floats,
    allowed: float | None,
    probabilities: Probabilities | None = None,
    calibrated: int = 84,
) -> tuple[BrokenInvariant, ...]:
    """Return the invariants that a stage's outputs break, and those that they are compared with do not.

    Args:
        stage: It.
        reference: What the outputs are compared with, (N, channels, ...).
        candidate: The outputs.
        allowed: Root mean square error that the stage's limits allow; a spread of the reference within 4 times that
            may vanish. None where there is no limit: then only what needs no comparison is looked at.
        probabilities: What the outputs must be, as `probabilities_of` found.
        calibrated: How many inputs the ranges of int8 and int16x8 are of.
    """
    if not np.isfinite(candidate).all():
        return (_not_finite(candidate),)
    ours, theirs = (_by_channel(outputs) for outputs in (reference, candidate))
    found = list(_not_probabilities(stage, candidate, probabilities))
    if allowed is not None and np.isfinite(reference).all() and theirs.shape[1] > 1:
        least = SPREADS * allowed
        found += _constant(stage, ours, theirs, least) or [
            *_dead(stage, ours, theirs, least),
            *(_poor_parts(reference, candidate) if stage.is_calibrated and probabilities is None else ()),
            *_saturated(stage, reference, candidate, least, calibrated),
        ]
    return tuple(found)


def not_finite_on_random(candidate: Floats) -> tuple[BrokenInvariant, ...]:
    """Return the finding about outputs on random inputs, or nothing where all are finite."""
    return () if np.isfinite(candidate).all() else (_not_finite(candidate, " on random inputs"),)


def _not_finite(candidate: Floats, where: str = "") -> BrokenInvariant:
    bad = int((~np.isfinite(candidate)).sum())
    advice = "`mobilekit ranges` shows where values overflow or are divided by 0."
    return BrokenInvariant("finite", f"some outputs are not finite numbers: {bad} of {candidate.size}{where}", advice)


def _by_channel(outputs: Floats) -> Values:
    """Return (channels, values of all inputs and places)."""
    values = outputs.astype(np.float64)
    values = values[:, None] if values.ndim == 1 else values
    return np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)


def _axes(values: Values | Floats) -> tuple[int, ...]:
    """Return the axes that may have parts: the channels, and the last; one number an input has none."""
    last = values.ndim - 1
    return tuple(axis for axis in dict.fromkeys((1, last)) if 0 < axis <= last and values.shape[axis] > 1)


def _sums(values: Values, kind: Probabilities, axis: int) -> Values:
    return np.asarray((np.exp(values) if kind == "log_softmax" else values).sum(axis))


def _rounding(values: Values, axis: int) -> float:
    return float((values.shape[axis] + SLACK + np.abs(values).max()) * EPSILON)


def _sums_to_one(values: Values, kind: Probabilities, axis: int) -> bool:
    return bool(np.abs(_sums(values, kind, axis) - 1).max() <= _rounding(values, axis))


def _not_probabilities(stage: Stage, candidate: Floats, kind: Probabilities | None) -> Iterator[BrokenInvariant]:
    if kind is None:
        return
    values = candidate.astype(np.float64)
    worst = min((_farthest(values, kind, axis, stage) for axis in _axes(values)), key=lambda pair: pair[0] - pair[2])
    distance, total, limit = worst
    if distance > limit:
        what = "probabilities" if kind == "softmax" else "exponentials of the log-probabilities"
        advice = _LOST_IN_8_BITS if stage.precision == "int8" else ""
        text = f"the {what} of an input sum to {total:.6g}, not to 1; rounding explains {limit:.2g}"
        yield BrokenInvariant("probabilities", text, advice)


def _farthest(values: Values, kind: Probabilities, axis: int, stage: Stage) -> tuple[float, float, float]:
    """Return the largest distance of a sum from 1, that sum, and what rounding explains of it."""
    sums, classes = _sums(values, kind, axis), values.shape[axis]
    total = float(sums.flat[np.abs(sums - 1).argmax()])
    limit = _rounding(values, axis)
    if stage.is_calibrated and kind == "softmax":
        limit += classes * (INT8_SOFTMAX_STEP if stage.precision == "int8" else INT16_SOFTMAX_STEP) / 2
    elif stage.precision == "int8":
        limit += math.expm1(INT8_LOG_SOFTMAX_STEP / 2) + classes * math.exp(INT8_LOG_SOFTMAX_LOW)
    elif stage.is_calibrated:  # rounded by half a step, in a range that calibration may have seen twice as large
        limit += math.expm1(HEADROOM * float(np.abs(values).max()) / 2**15)
    return abs(total - 1), total, limit


def _constant(stage: Stage, ours: Values, theirs: Values, least: float) -> list[BrokenInvariant]:
    is_constant = bool((theirs.max(1) == theirs.min(1)).all())
    spread = float((ours.max(1) - ours.min(1)).max())
    if not is_constant or spread <= least:
        return []
    text = f"the outputs are the same for every input, where those compared with vary by up to {spread:.3g}"
    return [BrokenInvariant("constant", text, _LOST_IN_8_BITS if stage.precision == "int8" else "")]


def _dead(stage: Stage, ours: Values, theirs: Values, least: float) -> Iterator[BrokenInvariant]:
    spreads = ours.max(1) - ours.min(1)
    dead = np.flatnonzero((theirs.max(1) == theirs.min(1)) & (spreads > least))
    if len(dead):
        first = dead[spreads[dead].argmax()]
        text = (
            f"{len(dead)} of {len(ours)} outputs are dead: output {first} is {theirs[first, 0]:.3g} for every input, "
            f"where the one compared with varies by {spreads[first]:.3g}"
        )
        yield BrokenInvariant("dead", text, _LOST_IN_8_BITS if stage.precision == "int8" else "")


def _few_levels(reference: Floats, candidate: Floats) -> Iterator[BrokenInvariant]:
    """Find parts along the channels, or the last axis as of many detectors, that 8 bits leave few values of."""
    for axis in _axes(candidate):
        parts = sorted_parts(reference, axis)
        ours, theirs = different_values(parts), different_values(sorted_parts(candidate, axis))
        lost = np.flatnonzero((theirs < FEWEST_LEVELS) & (ours >= OF_VALUES))
        if len(lost):
            worst = lost[theirs[lost].argmin()]
            text = (
                f"{len(lost)} of {len(ours)} parts along axis {axis} have fewer than {FEWEST_LEVELS} different values "
                f"left: part {worst} has {theirs[worst]}, where the one compared with has {ours[worst]}"
            )
            is_shared = parts[worst, -1] - parts[worst, 0] < FEWEST_LEVELS * _step(candidate)
            yield BrokenInvariant("levels", text, _SHARED_SCALE if is_shared else "")
            return


def _poor_parts(reference: Floats, candidate: Floats) -> list[BrokenInvariant]:
    return list(_few_levels(reference, candidate)) or list(_noisy(reference, candidate))


def _noisy(reference: Floats, candidate: Floats) -> Iterator[BrokenInvariant]:
    """Find parts that are mostly noise in an output that as a whole is not: the limit of all does not see them."""
    values, error = reference.astype(np.float64), candidate.astype(np.float64) - reference
    if _decibel(values.reshape(1, -1), error.reshape(1, -1))[0] < LEAST_DECIBEL:
        return
    for axis in _axes(values):
        own, noise = (np.moveaxis(each, axis, 0).reshape(each.shape[axis], -1) for each in (values, error))
        heard = _decibel(own, noise)
        lost = np.flatnonzero((heard < LEAST_DECIBEL) & (different_values(np.sort(own, axis=1)) >= OF_VALUES))
        if len(lost):
            worst = lost[heard[lost].argmin()]
            text = (
                f"{len(lost)} of {len(own)} parts along axis {axis} have less than {LEAST_DECIBEL:g} dB of signal to "
                f"noise: part {worst} has {heard[worst]:.1f} dB, its root mean square is {_size(own[worst]):.3g} and "
                f"its error's {_size(noise[worst]):.3g}"
            )
            is_shared = _size(noise[worst]) <= _step(candidate)
            yield BrokenInvariant("noise", text, _SHARED_SCALE if is_shared else "")
            return


def _step(candidate: Floats) -> float:
    """Return the step that an int8 scale for all of an output has; 0 of outputs that have more values than int8."""
    values = np.unique(candidate)
    return float(values[-1] - values[0]) / 255 if len(values) <= 256 else 0.0


def _decibel(values: Values, errors: Values) -> Values:
    """Return the signal-to-noise ratio of each row, its power being that about 0."""
    noise = (errors**2).sum(1)
    return np.asarray(10 * np.log10((values**2).sum(1) / np.where(noise, noise, 1e-300) + 1e-300))


def _size(values: Values) -> float:
    return float(np.sqrt((values**2).mean()))


def _saturated(
    stage: Stage, reference: Floats, candidate: Floats, least: float, calibrated: int
) -> Iterator[BrokenInvariant]:
    ours, theirs = (outputs.astype(np.float64).reshape(len(outputs), -1) for outputs in (reference, candidate))
    fewest = beyond_chance(len(ours), calibrated) if stage.is_calibrated else 2
    for sign, word in ((1, "upper"), (-1, "lower")):
        end = (sign * theirs).max()
        stuck = (sign * theirs == end) & (sign * ours > end + least)
        inputs = int(stuck.any(1).sum())
        if inputs >= fewest:  # something is at the end of any range
            text = (
                f"{inputs} of {len(ours)} inputs have outputs stuck at {sign * end:.3g}, the {word} end of their range,"
                f" where those compared with go to {sign * (sign * ours)[stuck].max():.3g}"
            )
            yield BrokenInvariant("saturated", text, _RANGES_ARE_SHORT if stage.is_calibrated else "")


def beyond_chance(count: int, calibrated: int) -> int:
    """Return how many of `count` inputs must go beyond the range of `calibrated` others to be no chance.

    Were all alike, any order of them were as likely as any other, and so the k largest are all among the `count` with
    the probability count/(count + calibrated) x (count - 1)/(count + calibrated - 1) x ..., k factors.
    """
    likely = 1.0
    for k in range(count):
        likely *= (count - k) / (count + calibrated - k)
        if likely < CHANCE:
            return max(k + 1, 2)
    return count + 1
