"""Parts of an output, and when 8 bits are too few for one: all of an output shares one scale in int8.

A part that had 100 different values or more and is left with fewer than 16 has less than a sixteenth of the range that
the whole output is rounded in: scores of 0 to 1 beside boxes in pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST_LEVELS, OF_VALUES = 16, 100


def sorted_parts(outputs: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return the values of each part of outputs along an axis, over all inputs and places, (parts, values) in order."""
    return np.sort(np.moveaxis(outputs, axis, 0).reshape(outputs.shape[axis], -1), axis=1)


def different_values(parts: NDArray[Any]) -> NDArray[np.int64]:
    """Return how many different values each part has, as `sorted_parts` gives them."""
    return np.asarray(1 + (np.diff(parts, axis=1) != 0).sum(1))
