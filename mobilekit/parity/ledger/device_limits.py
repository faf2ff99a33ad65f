"""Limits for a file on a device against the same file here."""

from __future__ import annotations

from mobilekit.parity.ledger.format_error import FLOAT32_TOLERANCE
from mobilekit.parity.ledger.labels import device_label_bound
from mobilekit.parity.ledger.limits import bounds_for
from mobilekit.parity.ledger.result import Bound, FormatError
from mobilekit.store.stages import Stage


def device_bounds(stage: Stage, error: FormatError) -> tuple[Bound, ...]:
    """Return the limits of a device's outputs against those of the same file here.

    Float kernels of another processor add in another order: the limit of float32 stages holds, also for float16 files,
    whose weights are the same floats on both sides.

    Kernels of 8 bits compute exact integers and scale them back in float; where a value lies next to the middle of two
    steps, two processors may round it to either. Rounding to a step has the variance step^2 / 12, and a value on the
    neighboring step is off by step^2: were one value in twelve rounded the other way, the outputs would change by as
    much as rounding itself changes them. No sound kernel comes near to that, and a wrong one goes beyond.
    """
    if stage.is_quantized and error.labels:
        return (device_label_bound(stage, error),)
    if not stage.is_quantized:
        bounds = bounds_for(Stage.TFLITE_FLOAT32, error, 0.0, None)
        # The budget against float64 is for comparisons with the reference alone.
        return tuple(bound for bound in bounds if bound.metric != "max_error_eps")
    own = error.relative_l2(stage.precision)
    text = f"{own:.2e}, the change of rounding to 8 bits: as if one value in twelve were rounded to the other step"
    return (Bound("relative_l2", max(own, FLOAT32_TOLERANCE * error.float32_relative_l2), text),)
