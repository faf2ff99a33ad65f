"""Which range of a tensor becomes int8's 256 levels: of a few, the one that leaves least noise in unseen pictures.

From the lowest to the highest value ever seen, few pictures make the range and all pay for it: the crops of one photo
can take two thirds of the levels. The mean of the pictures' own ends is narrower and cuts what goes beyond, and
neither rule is best for all networks. So each tensor has its own, by the signal-to-quantization-noise ratio in
pictures that a range was not fitted to, in decibel, which weighs every picture alike, however small its values are.
Some pictures are kept back from all of it, to judge the whole file on (`int8.trial`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.tflite import TFLiteGraph

Range = tuple[float, float]
K = TypeVar("K", int, str)

WHOLE = "min-max"
_WIDEST = "mean + 3 sigma"
RULES: Mapping[str, float] = {WHOLE: np.inf, _WIDEST: 3, "mean + 2 sigma": 2, "mean + sigma": 1, "mean": 0}
"""By how many standard deviations of the pictures' ends a range goes beyond their mean. The widest is for ranges that
have to spare all pictures: where they need not, it is taken for many a tensor for which a narrower one is better."""
WITH_ROOM = "min-max + 2 sigma"
"""Of outputs: by so many standard deviations of the pictures' ends beyond the lowest and the highest value. The largest
of an output is the model's answer, and two that are cut are the same one. The built-in calibration's crops are of seven
photos: if the ends of photos are normal, seven reach 1.35 deviations beyond their mean, and one in a thousand of others
3.1. It costs less than half of one of 8 bits."""
ROOM = 2
NARROWER = 4.0
"""A range that is so much narrower than the one of a scale that it shares loses 2 of 8 bits; a change of scale, which
takes time, is worth less than one."""
FOLDS = 7
"""In turns as the pictures come: the built-in calibration has seven photos in turns, so that no photo judges itself."""
FEWEST = 4 * FOLDS
"""Pictures; of fewer every tensor has the whole range."""
SAMPLED = 4
"""Of so many pictures one is sampled, which keeps a large network's samples below 100 MB."""
VALUES = 4096
"""The most of a tensor that is sampled, evenly spread. 1024 miss enough of the ends that ranges come out too narrow."""
HEADROOM = 2
"""Of 16 bits: an input may make values twice as large as the calibration's largest, and one bit of 16 is no loss."""
_MOVES = ("RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS")
"""Ops that change no value: what they take and make has one range."""
_BOUNDED = (
    *("L2_NORMALIZATION", "LOGISTIC", "SOFTMAX", "TANH"),
    *("MAXIMUM", "MINIMUM", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1"),
)
"""Ops whose results have one scale, whatever they are (TFLite's quantization specification), or end at a clamp."""
_TINY = 1e-30


def is_kept_back(run: int) -> bool:
    """Return whether a run's pictures are kept back: one of each seven, in turns the second, the third, ..."""
    return run % FOLDS == (run // FOLDS + 1) % FOLDS


@dataclass
class Seen:
    """What a tensor held on calibration: the ends of each run, and values of some."""

    lows: list[float] = field(default_factory=list)
    highs: list[float] = field(default_factory=list)
    samples: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    """By the number of the run."""
    _noise: dict[str, NDArray[np.float64]] = field(default_factory=dict, repr=False, compare=False)
    """By rules, since the last run was added."""

    def add(self, value: NDArray[np.float32]) -> None:
        """Take what a tensor holds after a run. Infinite values count as float32's largest, what is no number as 0."""
        low, high = float(value.min()), float(value.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            value = np.nan_to_num(value)
            low, high = float(value.min()), float(value.max())
        self._noise.clear()
        run = len(self.lows)
        if run % SAMPLED == 0 and not is_kept_back(run):
            flat = value.reshape(-1)
            step = max(1, flat.size // VALUES) | 1  # odd, so that it does not meet the same channels each time
            self.samples[run] = flat[::step][:VALUES].copy()
        self.lows.append(low)
        self.highs.append(high)

    def best(self, spares_all: bool = False) -> str:
        """Return the rule of `RULES` that leaves least noise in pictures that a range was not fitted to.

        Args:
            spares_all: Only of the rules that leave no such picture with more noise than the whole range.
        """
        rules = [rule for rule in RULES if spares_all or rule != _WIDEST]
        noise = self._noise
        noise |= {rule: self._unseen_noise(RULES[rule]) for rule in rules if rule not in noise}
        fair = [rule for rule in rules if not spares_all or (noise[rule] <= noise[WHOLE]).all()]
        return min(fair, key=lambda rule: float(noise[rule].mean()))

    def _unseen_noise(self, sigmas: float) -> NDArray[np.float64]:
        """Return the logarithm of noise to signal of each picture with samples."""
        noise = []
        for run, values in self.samples.items():
            others = [other for other in self._runs(False) if other % FOLDS != run % FOLDS]
            low, high = self._fit(others, sigmas)
            signal = np.square(values, dtype=np.float64).sum()
            lost = np.square(_rounded(values, low, high) - values, dtype=np.float64).sum()
            noise.append(np.log((lost + _TINY) / (signal + _TINY)))
        return np.array(noise)

    def fitted(self, rule: str, with_kept_back: bool = True) -> Range:
        """Return the range by a rule of `RULES`, or `WITH_ROOM`."""
        runs = self._runs(with_kept_back)
        return self._with_room(runs) if rule == WITH_ROOM else self._fit(runs, RULES[rule])

    def _runs(self, with_kept_back: bool) -> list[int]:
        return [run for run in range(len(self.lows)) if with_kept_back or not is_kept_back(run)]

    def _fit(self, runs: list[int], sigmas: float) -> Range:
        lows, highs = np.array(self.lows)[runs], np.array(self.highs)[runs]
        if np.isinf(sigmas):
            return float(lows.min()), float(highs.max())
        low, high = lows.mean() - sigmas * lows.std(), highs.mean() + sigmas * highs.std()
        return float(max(low, lows.min())), float(min(high, highs.max()))

    def _with_room(self, runs: list[int]) -> Range:
        lows, highs = np.array(self.lows)[runs], np.array(self.highs)[runs]
        return float(lows.min() - ROOM * lows.std()), float(highs.max() + ROOM * highs.std())


def _rounded(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """Return values as int8 of a range holds them, which always holds 0 (TFLite's quantization specification)."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / 255 or 1)
    zero = np.float32(np.rint(-128 - low / scale))
    rounded: NDArray[np.float32] = (np.clip(np.rint(values / scale) + zero, -128, 127) - zero) * scale
    return rounded


def with_headroom(ranges: Mapping[K, Range]) -> dict[K, Range]:
    """Return ranges around 0 for values of 16 bits, twice as wide as what calibration saw."""
    ends = {key: HEADROOM * max(-low, high) for key, (low, high) in ranges.items()}
    return {key: (-end, end) for key, end in ends.items()}


def choose_rules(graph: TFLiteGraph, seen: Mapping[int, Seen], spares_all: bool = False) -> dict[int, str]:
    """Return the rule for each tensor, by its number: of `RULES`, or `WITH_ROOM`.

    Inputs are never cut. Outputs have room, and so has what ops only move to an output; those of one range by the op
    that makes them need none.

    Args:
        graph: Of the float32 file.
        seen: What each tensor held.
        spares_all: As of `Seen.best`.
    """
    first: dict[int, int] = {}
    for op in graph.ops_of(_MOVES):
        taken, (made, *_) = graph.operands[op][0], graph.results[op]
        first[made] = first.get(taken, taken)
    rules = {tensor: one.best(spares_all) for tensor, one in seen.items() if tensor not in first}
    for output in graph.own_outputs().values():
        source = first.get(output, output)
        rules[source] = WHOLE if _is_bounded(graph, source) else WITH_ROOM
    rules |= dict.fromkeys(graph.inputs(), WHOLE)
    return {tensor: rules.get(first.get(tensor, tensor), WHOLE) for tensor in seen}


def _is_bounded(graph: TFLiteGraph, tensor: int) -> bool:
    """Return whether the op that makes a tensor says where its values end."""
    if tensor not in graph.makers:
        return False
    op = graph.makers[tensor]
    return graph.kinds[op] in _BOUNDED or bool(getattr(graph.options(op), "fusedActivationFunction", 0))
