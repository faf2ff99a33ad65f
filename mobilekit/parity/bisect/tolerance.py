"""How far a candidate's tensor may be from the reference's, given the same values before both."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mobilekit.artifacts.runtime import is_label
from mobilekit.parity.bisect.layouts import Floats, distance
from mobilekit.parity.bisect.steps import Steps, Values
from mobilekit.parity.ledger.format_error import FORMAT_SHARE

FLOAT32 = 2.0**-16
"""Two thirds of float32's 24 bits. Sums of some thousand products in two orders differ by some 2^-20 of their norm, and
differences of near numbers lose a few bits more; an op that computes something else changes more: one approximation of
GELU by another, 2^-12."""
FEWEST_STEPS = 8
"""An int8 range that is calibrated on many inputs is wider than one input's, whose values then have fewer of its 256
steps. With fewer than these, 3 bits, rounding costs a tenth of them: no range that fits does that."""
MOST = 0.5
"""Beyond half of the norm anything looks alike."""


@dataclass(frozen=True)
class Yardstick:
    """The reference, and the reference with the roundings of the candidate's format."""

    exact: Steps
    rounded: Steps | None = None
    """The same steps, each rounded as the format does; None for float32."""
    round_given: Callable[[Any], Any] | None = None
    """Rounds what a step is given, where the format rounds what an op takes and not what it makes."""
    floor: float = FLOAT32

    def replay(self, given: Values, ops: int = 1) -> Replay:
        """Return both, to be run from the given values.

        Args:
            given: Values of steps.
            ops: How many ops of the candidate do it, each of which may round.
        """
        rounds = self.round_given
        rounded = {step: rounds(value) if rounds and _is_floating(value) else value for step, value in given.items()}
        return Replay(self, dict(given), rounded, ops)


def _is_floating(value: Any) -> bool:
    return "float" in str(value.dtype)


@dataclass
class Replay:
    """The reference's steps after some that are given."""

    yardstick: Yardstick
    _exact: Values
    _rounded: Values
    ops: int
    _noise: dict[str, float] = field(default_factory=dict)

    def exact(self, step: str) -> Floats:
        """Return what a step makes."""
        array = self.yardstick.exact.array(self.yardstick.exact.run(self._exact, step))
        assert array is not None
        return array

    def limit(self, step: str, step_size: float = 0.0) -> float:
        """Return how far a tensor may be from this step: relative L2, or the share of labels that differs.

        The change when weights and what a step makes are rounded as the format does, and that of rounding to the
        tensor's own steps, twice as both are draws (`limits.FORMAT_SHARE`), and float32's noise.

        Args:
            step: The step.
            step_size: Distance of two neighboring values of the tensor; 0 for a float one.
        """
        if self.yardstick.rounded is None:
            return self.yardstick.floor
        if step not in self._noise:
            other = self.yardstick.rounded.array(self.yardstick.rounded.run(self._rounded, step))
            assert other is not None
            self._noise[step] = distance(self.exact(step), other)
        own = 0.0 if is_label(self.exact(step)) else rounding(self.exact(step), step_size) * math.sqrt(max(self.ops, 1))
        return min(self.yardstick.floor + FORMAT_SHARE * math.hypot(self._noise[step], own), MOST)


def rounding(array: Floats, step_size: float) -> float:
    """Return the relative L2 change of rounding to steps of this size: the deviation of one is step / sqrt(12).

    Steps count as no larger than those with which the values have `FEWEST_STEPS`.
    """
    low, high = min(float(array.min()), 0.0), max(float(array.max()), 0.0)
    size = min(step_size, (high - low) / FEWEST_STEPS)
    norm = float(np.linalg.norm(array.astype(np.float64)))
    return size / math.sqrt(12) * math.sqrt(array.size) / norm if norm else 0.0
