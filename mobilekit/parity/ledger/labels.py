"""Outputs that are labels, integers or booleans, as a net gives that has an argmax or a threshold in it.

Labels are no quantities: class 7 is not farther from class 1 than class 2 is. So they are counted: which share of them
is the reference's.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mobilekit.parity.ledger.result import Bound, FormatError, Metrics
from mobilekit.store.stages import Stage

FLOAT32_FLIPS = 8
"""How many times as many labels another evaluation in float32 may change as the reference's own: the share that lies
within an error of a border grows with the error, and that is as in `format_error.FLOAT32_TOLERANCE`."""
FORMAT_FLIPS = 2
"""How many times as many a file of a format may change as its simulation, for the same reason: see `FORMAT_SHARE`."""


def compare_labels(
    reference: NDArray[np.int64], candidate: NDArray[np.int64], known: NDArray[np.int64] | None
) -> Metrics:
    """Count how many labels of (N, ...) differ.

    Args:
        reference: Labels.
        candidate: Labels of the same shape.
        known: Class numbers (N,), which count where an input has one label.
    """
    truth, other = (array.reshape(len(array), -1) for array in (reference, candidate))
    differs = other != truth
    share = float(differs.mean())
    is_one = truth.shape[1] == 1
    return Metrics(
        max_abs=float(differs.any()),
        mean_abs=share,
        relative_l2=share,
        cosine=1 - float(differs.mean(1).max()),
        psnr_db=None,
        top1_agreement=1 - share,
        top1=float((other[:, 0] == known).mean()) if known is not None and is_one else None,
        finite=bool(np.isfinite(other).all()),
        equal_labels=1 - share,
    )


def label_bound(stage: Stage, error: FormatError, drift: float) -> Bound:
    """Return which share of the labels must be the reference's.

    A label changes where its lead is smaller than the error, so the share that changes grows with the error. A format
    of fewer bits makes an error of some times the size (16 bits for 24, 8 for 11): what it changes is a bound as well,
    where the format's own simulation changes too few labels to count. For 8 bits there is no such format, and the
    simulation and the file are two draws of one share of n labels, whose deviation is at most 1/(2 sqrt(n)).

    Args:
        stage: One that is here.
        error: Of an output of labels.
        drift: Sum of the `max_drift` of the approximate rewrites between the two things compared.
    """
    assert error.labels
    allowed, text = _allowed(stage, error)
    added = f" + {drift:g} of the approximate rewrites' max_drift" if drift else ""
    why = f"all but {text}{added}" if allowed + drift else "all, as rounding changes none of them in simulation"
    return Bound("equal_labels", max(0.0, 1 - allowed - drift), why)


def _allowed(stage: Stage, error: FormatError) -> tuple[float, str]:
    """Return the share of labels that may differ, and why."""
    precision = stage.precision
    if precision == "float32":
        own, wider = max(error.float32_relative_l2, error.float32_orders_relative_l2), error.float16_relative_l2
        if FLOAT32_FLIPS * own >= wider:
            return FLOAT32_FLIPS * own, f"{FLOAT32_FLIPS} x {own:.2e}, the share that float32's own rounding changes"
        return wider, f"{wider:.2e}, the share that rounding the weights to float16 changes"
    own = error.relative_l2(precision)
    allowed, text = FORMAT_FLIPS * own, f"{FORMAT_FLIPS} x {own:.2e}, the share that {precision} changes in simulation"
    if precision == "float16":
        wider = error.dynamic_relative_l2
        return (allowed, text) if allowed >= wider else (wider, f"{wider:.2e}, the share that 8-bit weights change")
    chance = 1 / math.sqrt(error.labels or 1)
    return allowed + chance, f"{text}, and {chance:.2e}, two deviations of a share of {error.labels} labels"


def device_label_bound(own: float, error: FormatError, what: str) -> Bound:
    """Return which share must be the same file's here: as `device_limits` has it, half of what the format changes.

    Args:
        own: The share that the format changes.
        error: How many labels there are.
        what: The format, in words.
    """
    chance = 1 / math.sqrt(error.labels or 1)
    text = f"all but {own:.2e}, the share that {what} changes, and {chance:.2e}, two deviations of a share of "
    return Bound("equal_labels", max(0.0, 1 - own - chance), f"{text}{error.labels} labels")
