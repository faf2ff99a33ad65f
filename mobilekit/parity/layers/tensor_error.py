"""How far one tensor is from another: relative error, and signal to quantization noise as a whole and by channel."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mobilekit.parity.layers.result import TensorError
from mobilekit.parity.ledger.metrics import Floats


class ErrorSum:
    """Sums over inputs, one after another, from which a `TensorError` is made.

    Squares are added in float64; a difference of two float32 numbers is rounded to float32 first, by 2^-24 of itself.
    """

    def __init__(self) -> None:
        self.powers: NDArray[np.float64] = np.zeros(1)
        self.noises: NDArray[np.float64] = np.zeros(1)
        self.max_abs = 0.0
        self.values = 0

    def add(self, signal: Floats, candidate: Floats) -> None:
        """Add what a tensor (N, ...) should be, and what it is.

        Channels are the second axis, but the last of three: (N, tokens, channels).

        Raises:
            ValueError: The shapes differ.
        """
        if signal.shape != candidate.shape:
            raise ValueError(f"tensors have the shapes {signal.shape} and {candidate.shape}")
        axis = 2 if signal.ndim == 3 else min(1, signal.ndim - 1)
        truth, other = (np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1) for array in (signal, candidate))
        difference = other - truth
        self.powers = self.powers + _squares(truth)
        self.noises = self.noises + _squares(difference)
        self.values += int(np.count_nonzero(truth))
        largest = max(float(difference.max(initial=0.0)), -float(difference.min(initial=0.0)))
        self.max_abs = max(self.max_abs, largest) if math.isfinite(largest) else math.inf

    def result(self) -> TensorError:
        """Return the error of all that was added."""
        power, noise = float(self.powers.sum()), float(self.noises.sum())
        decibels = _decibels(self.powers, self.noises)
        worst = int(decibels.argmin()) if np.isfinite(decibels).any() else None
        return TensorError(
            max_abs=self.max_abs,
            relative_l2=math.sqrt(noise / power) if power > 0 else (math.inf if noise else 0.0),
            sqnr_db=10 * math.log10(power / noise) if noise > 0 and power > 0 and math.isfinite(noise) else None,
            worst_channel_db=None if worst is None else float(decibels[worst]),
            worst_channel=worst,
            values=self.values,
        )


def _squares(rows: Floats) -> NDArray[np.float64]:
    """Return the sum of the squares of each row."""
    return np.asarray(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))


def _decibels(powers: NDArray[np.float64], noises: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ratio of each channel; infinite where it has no signal, or nothing differs."""
    counts = (powers > 0) & (noises > 0) & np.isfinite(noises)
    ratios = np.divide(powers, noises, out=np.full(powers.shape, np.inf), where=counts)
    return np.asarray(10 * np.log10(ratios))
