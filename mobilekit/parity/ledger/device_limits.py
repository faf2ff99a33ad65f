"""Limits for a file on a device against the same file here."""

from __future__ import annotations

from mobilekit.parity.ledger.format_error import FLOAT32_DRAWS, Noise
from mobilekit.parity.ledger.limits import Bound, bounds_for

_FLOAT32 = "tflite-float32"
_WORDS = {"dynamic": "dynamic_relative_l2", "int8": "int8_relative_l2"}


def is_device(stage: str) -> bool:
    """Tell whether a stage is a file on a device."""
    return stage.startswith("device-")


def source_of(stage: str) -> str:
    """Return the stage of the same file here; for other stages, themselves."""
    return f"tflite-{stage.removeprefix('device-')}" if is_device(stage) else stage


def device_bounds(stage: str, noise: Noise) -> tuple[Bound, ...]:
    """Return the limits of a device's outputs against those of the same file here.

    Float kernels of another processor add in another order: the limit of float32 stages holds, also for float16 files,
    whose weights are the same floats on both sides.

    Kernels of 8 bits compute exact integers and scale them back in float; where a value lies next to the middle of two
    steps, two processors may round it to either. Rounding to a step has the variance step^2 / 12, and a value on the
    neighbouring step is off by step^2: were one value in twelve rounded the other way, the outputs would change by as
    much as rounding itself changes them. No sound kernel comes near to that, and a wrong one goes beyond.
    """
    precision = stage.removeprefix("device-")
    if precision not in _WORDS:
        # The budget against float64 is for comparisons with the reference alone.
        return tuple(bound for bound in bounds_for(_FLOAT32, noise, 0.0, None) if bound.metric != "float64_ulps")
    own = getattr(noise, _WORDS[precision])
    text = f"{own:.2e}, the change of rounding to 8 bits: as if one value in twelve were rounded to the other step"
    return (Bound("relative_l2", max(own, FLOAT32_DRAWS * noise.float32_relative_l2), text),)
