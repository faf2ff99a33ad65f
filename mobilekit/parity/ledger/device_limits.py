"""Limits for a file on a device against the same file here."""

from __future__ import annotations

import math

from mobilekit.parity.ledger.format_error import FLOAT32_TOLERANCE, FORMAT_SHARE
from mobilekit.parity.ledger.labels import device_label_bound
from mobilekit.parity.ledger.limits import bounds_for
from mobilekit.parity.ledger.result import Bound, FormatError
from mobilekit.store.stages import Stage

AT_FAULT = "If the same file is within its limits here, the device's runtime is at fault: take another precision there."
"""What to do where a device's outputs are not within a limit."""


def device_bounds(stage: Stage, error: FormatError) -> tuple[Bound, ...]:
    """Return the limits of a device's outputs against those of the same file here.

    Float kernels of another processor add in another order: the limit of float32 stages holds, also for float16 files,
    whose weights are the same floats on both sides.

    Kernels of 8 bits compute exact integers and scale them back in float; where a value lies next to the middle of two
    steps, two processors may round it to either. Rounding to a step has the variance step^2 / 12, and a value on the
    neighboring step is off by step^2: were one value in twelve rounded the other way, the outputs would change by as
    much as rounding itself changes them. No sound kernel comes near to that, and a wrong one goes beyond.

    LiteRT's GPU accelerator takes weights and values of 8 bits for the floats that they stand for, and rounds fewer
    values than kernels of 8 bits do: two independent roundings are between both files.
    """
    if stage.place == "gpu" and stage.is_quantized and not error.labels:
        own = error.relative_l2(stage.precision)
        text = f"{FORMAT_SHARE} x {own:.2e}, the change of rounding to 8 bits: the GPU computes the file in float"
        return (Bound("relative_l2", max(FORMAT_SHARE * own, FLOAT32_TOLERANCE * error.float32_relative_l2), text),)
    if stage.is_quantized and error.labels:
        return (device_label_bound(error.relative_l2(stage.precision), error, "rounding to 8 bits"),)
    if not stage.is_quantized:
        bounds = bounds_for(Stage.TFLITE_FLOAT32, error, 0.0, None)
        # The budget against float64 is for comparisons with the reference alone.
        return tuple(bound for bound in bounds if bound.metric != "max_error_eps")
    own = error.relative_l2(stage.precision)
    text = f"{own:.2e}, the change of rounding to 8 bits: as if one value in twelve were rounded to the other step"
    return (Bound("relative_l2", max(own, FLOAT32_TOLERANCE * error.float32_relative_l2), text),)


def float16_arithmetic_bounds(error: FormatError, drift: float | None) -> tuple[Bound, ...]:
    """Return the limits of a file that a GPU computes in float16, against its file here and against the reference.

    The simulation rounds where the GPU does, but in another order, which makes two independent roundings.

    Args:
        error: With that of float16 arithmetic.
        drift: Sum of the approximate rewrites' `max_drift` between both; None leaves nothing to derive a limit from,
            and so does a simulation that leaves float16's range.
    """
    if drift is None or not math.isfinite(error.float16_arithmetic_relative_l2):
        return ()
    if error.labels:
        return (device_label_bound(error.float16_arithmetic_relative_l2, error, "float16 arithmetic"),)
    own = error.float16_arithmetic_relative_l2
    allowed = f" + {drift:g} of the approximate rewrites' max_drift" if drift else ""
    text = f"{FORMAT_SHARE} x {own:.2e}, the change when weights, values and sums are rounded to float16{allowed}"
    floor = FLOAT32_TOLERANCE * error.float32_relative_l2
    return (Bound("relative_l2", max(FORMAT_SHARE * own, floor) + drift, text),)
