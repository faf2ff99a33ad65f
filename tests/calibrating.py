"""Files with ranges, for tests that are about what ranges are written and not about which."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from mobilekit.convert.calibration import observe, with_ranges


def with_whole_ranges(
    content: bytes, calibration: Mapping[str, NDArray[np.float32]], pixels: Collection[str] = ()
) -> bytes:
    """Return a float32 file with ranges from the lowest to the highest value of each tensor."""
    seen = observe(content, calibration).seen
    return with_ranges(content, {number: one.fitted("min-max") for number, one in seen.items()}, pixels)
