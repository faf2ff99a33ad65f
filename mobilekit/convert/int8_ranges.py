"""Which range of a tensor becomes int8's 256 levels: of a few, the one that leaves least noise in unseen pictures.

From the lowest to the highest value ever seen, few pictures make the range and all pay for it: the crops of one photo can
take two thirds of the levels. The mean of the pictures' own ends is narrower and cuts what goes beyond, and neither rule is
best for all networks. So each tensor has its own, by the signal-to-quantization-noise ratio in pictures that a range
was not fitted to, in decibel, which weighs every picture alike, however small its values are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.tflite import TFLiteGraph

Range = tuple[float, float]

RULES: Mapping[str, float] = {"min-max": np.inf, "mean + 2 sigma": 2, "mean + sigma": 1, "mean": 0}
"""By how many standard deviations of the pictures' ends a range goes beyond their mean."""
FOLDS = 7
"""In turns as the pictures come: the built-in calibration has seven photos in turns, so that no photo judges itself."""
FEWEST = 2 * FOLDS
"""Pictures; of fewer a tensor has the whole range."""
SAMPLED = 4
"""Of so many pictures one is sampled, which keeps a large network's samples below 100 MB."""
VALUES = 4096
"""The most of a tensor that is sampled, evenly spread. 1024 miss enough of the ends that ranges come out too narrow."""
_MOVES = ("RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS")
"""Ops that change no value: what they take and make has one range."""


@dataclass
class Seen:
    """What a tensor held on calibration: the ends of each run, and values of some."""

    lows: list[float] = field(default_factory=list)
    highs: list[float] = field(default_factory=list)
    samples: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, value: NDArray[np.float32]) -> None:
        """Take what a tensor holds after a run. Infinite values count as float32's largest, what is no number as 0."""
        low, high = float(value.min()), float(value.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            value = np.nan_to_num(value)
            low, high = float(value.min()), float(value.max())
        if len(self.lows) % SAMPLED == 0:
            flat = value.reshape(-1)
            step = max(1, flat.size // VALUES) | 1  # odd, so that it does not meet the same channels each time
            self.samples.append(flat[::step][:VALUES].copy())
        self.lows.append(low)
        self.highs.append(high)

    @property
    def whole(self) -> Range:
        """From the lowest to the highest value."""
        return min(self.lows), max(self.highs)

    def best(self) -> str:
        """Return the rule of `RULES` that leaves least noise in pictures that a range was not fitted to."""
        if len(self.lows) < FEWEST:
            return "min-max"
        noise = {rule: self._unseen_noise(sigmas) for rule, sigmas in RULES.items()}
        return min(noise, key=lambda rule: noise[rule])

    def _unseen_noise(self, sigmas: float) -> float:
        """Return the mean of the logarithm of noise to signal, over the pictures with samples."""
        ends = np.array([self.lows, self.highs])
        folds = np.arange(ends.shape[1]) % FOLDS
        noise = 0.0
        for number, values in enumerate(self.samples):
            low, high = _fit(*ends[:, folds != folds[number * SAMPLED]], sigmas)
            signal = np.square(values, dtype=np.float64).sum()
            lost = np.square(_rounded(values, low, high) - values, dtype=np.float64).sum()
            noise += float(np.log((lost + _TINY) / (signal + _TINY)))
        return noise / len(self.samples)

    def fitted(self, rule: str) -> Range:
        """Return the range by a rule, of all pictures."""
        return _fit(np.array(self.lows), np.array(self.highs), RULES[rule])


_TINY = 1e-30


def _fit(lows: NDArray[np.float64], highs: NDArray[np.float64], sigmas: float) -> Range:
    if np.isinf(sigmas):
        return float(lows.min()), float(highs.max())
    low, high = lows.mean() - sigmas * lows.std(), highs.mean() + sigmas * highs.std()
    return float(max(low, lows.min())), float(min(high, highs.max()))


def _rounded(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """Return values as int8 of a range holds them, which always holds 0 (TFLite's quantization specification)."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / 255 or 1)
    zero = np.float32(np.rint(-128 - low / scale))
    rounded: NDArray[np.float32] = (np.clip(np.rint(values / scale) + zero, -128, 127) - zero) * scale
    return rounded


def choose_rules(graph: TFLiteGraph, seen: Mapping[int, Seen]) -> dict[int, str]:
    """Return the rule of `RULES` for each tensor, by its number.

    Inputs and outputs are never cut, nor what ops only move to an output: a model's answer is the largest of them.

    Args:
        graph: Of the float32 file.
        seen: What each tensor held.
    """
    first: dict[int, int] = {}
    for op in graph.ops_of(_MOVES):
        taken, (made, *_) = graph.operands[op][0], graph.results[op]
        first[made] = first.get(taken, taken)
    whole = {first.get(tensor, tensor) for tensor in graph.ends()}
    rules = {tensor: "min-max" if tensor in whole else one.best() for tensor, one in seen.items() if tensor not in first}
    return {tensor: rules.get(first.get(tensor, tensor), "min-max") for tensor in seen}
