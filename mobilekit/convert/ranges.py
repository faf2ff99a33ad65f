"""The range in which 8 bits carry a tensor best, from its values on calibration inputs.

A step of 8 bits is 1/255 of the range, so that the few values at its ends cost all others. A narrower range rounds
less and clips more; the one with the least error of both is somewhere between.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

POWER = 2.5
"""Power of the errors that are summed, a norm as in Nahshan et al., Loss Aware Post-training Quantization (arXiv
1911.07190). Under 2, the mean square, the clipped values of one unusual picture count little against the rounding of
all others; under a high power nothing is clipped."""
_STEPS = 255
_BINS = 1024
_SAMPLES = 4096
_SHARES = np.linspace(0.2, 1.0, 41)  # of the full range, at each end


class Histogram:
    """Values of one tensor, counted between its lowest and highest.

    Args:
        low: Lowest value; what is below counts as it.
        high: Highest value; what is above counts as it.
    """

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self._counts = np.zeros(_BINS, np.int64)

    def add(self, values: NDArray[np.float32]) -> None:
        """Count values of any shape; of many, a few thousand, drawn always in the same way."""
        width = (self.high - self.low) / _BINS
        if not width > 0:
            return
        flat = values.ravel()
        if flat.size > _SAMPLES:
            flat = flat[np.random.default_rng(0).integers(0, flat.size, _SAMPLES)]
        bins = (np.clip(np.nan_to_num(flat), self.low, self.high).astype(np.float64) - self.low) / width
        self._counts += np.bincount(np.minimum(bins.astype(np.int64), _BINS - 1), minlength=_BINS)

    def best_range(self) -> tuple[float, float]:
        """Return the range inside `low` and `high`, and around 0, with the least error.

        The error is the sum of |error| to the power `POWER`: of clipped values their distance from the range, of all
        that of rounding evenly spread values, (step / 2) ** POWER / (POWER + 1).
        """
        total = self._counts.sum()
        lows, highs = _candidates(min(self.low, 0.0)), _candidates(max(self.high, 0.0))
        if not total or not self.high > self.low:
            return self.low, self.high
        values = self.low + (np.arange(_BINS) + 0.5) * (self.high - self.low) / _BINS
        shares = self._counts / total
        below = np.maximum(lows[:, None] - values, 0) ** POWER @ shares
        above = np.maximum(values - highs[:, None], 0) ** POWER @ shares
        step = (highs[None, :] - lows[:, None]) / _STEPS
        error = below[:, None] + above[None, :] + (step / 2) ** POWER / (POWER + 1)
        i, j = np.unravel_index(int(error.argmin()), error.shape)
        return self._full(float(lows[i]), float(highs[j]))

    def _full(self, low: float, high: float) -> tuple[float, float]:
        """Return a range with its end left where the tensor has it, if all is on one side of 0."""
        return (self.low if self.low > 0 else low), (self.high if self.high < 0 else high)


def _candidates(end: float) -> NDArray[np.float64]:
    """Return the places at which a range may end, from near 0 to the full one."""
    return end * _SHARES if end else np.zeros(1)
