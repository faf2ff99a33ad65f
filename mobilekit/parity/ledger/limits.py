"""Limits for each stage, derived from the measured error of its number format."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from mobilekit.errors import UsageError
from mobilekit.parity.ledger.format_error import (
    ANOTHER_ORDER,
    FLOAT32_TOLERANCE,
    FORMAT_SHARE,
    ORDERS_TOLERANCE,
)
from mobilekit.parity.ledger.labels import label_bound
from mobilekit.parity.ledger.result import HIGHER_IS_BETTER, Bound, FormatError, JudgedBound, Metrics
from mobilekit.recipes.schema import BEYOND_8_BITS, Limit
from mobilekit.rewrites.float32 import FLOOR, TOLERANCE_FACTOR, ULP
from mobilekit.store.stages import Precision, Stage

FLOAT32_EPS = 4
"""Floor of the float32 limit: an output's own rounding, in units of 2^-24 of the largest output, on both sides of the
two evaluations that are compared."""
FLOAT16_COSINE = 0.9999
"""What mobilekit promises for float16 artifacts, whatever rounding alone does to the model."""
QUANTIZED_COSINE = 0.95
"""What it promises for artifacts with integers of models with weights: below it the error is a third of the output,
10 dB under it, and the artifact of little use, even where the format does no better on this model. Random weights are
more sensitive than trained ones, and of no use in any format."""
_TOLD = 0.01
"""Share of a limit from which on what is added to it is told."""
_LOST = math.sqrt(1 / QUANTIZED_COSINE**2 - 1)  # relative L2 of such an error


def judge(bounds: Iterable[Bound], metrics: Metrics) -> tuple[JudgedBound, ...]:
    """Hold metrics to their limits, but for those that were not computed, such as top-1 without labels."""
    return tuple(bound.judge(metrics) for bound in bounds if getattr(metrics, bound.metric) is not None)


def bounds_for(
    stage: Stage,
    error: FormatError,
    drift: float | None,
    override: Limit | None,
    is_trained: bool = True,
    asks_why: bool = False,
) -> tuple[Bound, ...]:
    """Return the limits of one stage.

    Args:
        stage: One that is here; `device_bounds` has those of files on a device.
        error: Measured on the inputs at hand.
        drift: Sum of the `max_drift` of the approximate rewrites that lie between the two things compared; None where
            a rewrite that needs retraining does, which leaves nothing to derive a limit from.
        override: The recipe's own limits. A stricter one replaces what is derived, and so does a looser one that
            comes with a reason.
        is_trained: Whether the model has weights that mean something.
        asks_why: Whether a looser one without a reason is an error; it is left aside otherwise.

    Raises:
        UsageError: The recipe loosens a limit without a reason.
    """
    derived = [] if drift is None else _derived(stage, error, drift, is_trained)
    bounds = {bound.metric: bound for bound in derived}
    for metric, value in (override.figures() if override else {}).items():
        if (metric == "equal_labels") != bool(error.labels):
            continue
        own = Bound(metric, value, "set by the recipe", _advice(stage, metric, error))
        bounds[metric] = _chosen(stage, own, bounds.get(metric), override.reason if override else None, asks_why)
    return tuple(bounds.values())


def _chosen(stage: Stage, own: Bound, derived: Bound | None, reason: str | None, asks_why: bool) -> Bound:
    """Return the limit that counts, of the recipe's and the derived one.

    Raises:
        UsageError: The recipe's is looser, and it must say why.
    """
    if derived is None or not _is_looser(own, derived):
        return own
    if reason:
        text = f"loosened by the recipe ({reason}); derived is {derived.limit:.3g}: {derived.derivation}"
        return replace(own, derivation=text, reason=reason)
    if asks_why:
        raise UsageError(
            f"The recipe loosens the limit of {stage} on {own.metric} to {own.limit:g}, and does not say why: it is "
            f"{derived.limit:.3g} ({derived.derivation}).",
            f"Leave it out, or give a reason, which the report shows: `{stage}: {{{own.metric}: {own.limit:g}, reason: "
            '"..."}` under `limits`.',
        )
    return derived


def _is_looser(one: Bound, other: Bound) -> bool:
    return one.limit < other.limit if one.metric in HIGHER_IS_BETTER else one.limit > other.limit


_CHANGES: dict[Precision, str] = {
    "float16": "weights are rounded to float16",
    "dynamic": "weights (per channel) and the inputs of layers are rounded to 8 bits, but for small weights",
    "int8": "weights (per channel) and every other tensor are rounded to 8 bits in the calibration's ranges",
    "int16x8": "weights (per channel) are rounded to 8 bits and all others to 16 in twice the calibration's ranges",
}


_TOO_MUCH = (
    "The file loses more than rounding to 8 bits must. Some parts are beyond 8 bits: "
    f"`int8: {{keep_float: [{', '.join(BEYOND_8_BITS)}]}}` in the recipe leaves them in float. If they are in "
    "float already, the converter or a kernel is at fault."
)
_FORMAT_LOSES = (
    "Rounding to 8 bits itself loses this much on this model, whatever makes the file. Leave more in float "
    "(int8.keep_float in the recipe), or use the dynamic or float16 file."
)
_RANGES_LOSE = (
    "These inputs lie outside the ranges of the calibration; with ranges of their own they would lose {:.2g}, not "
    "{:.2g}. Calibrate on more pictures that are like them: --calibration FOLDER."
)


def _promises(stage: Stage, error: FormatError, is_trained: bool) -> list[Bound]:
    """Return the cosine that an artifact must reach in any case."""
    if not stage.is_quantized:
        return [Bound("cosine", FLOAT16_COSINE, "mobilekit's promise for float16")]
    text = "mobilekit's promise: an error below a third of the outputs"
    return [Bound("cosine", QUANTIZED_COSINE, text, _advice(stage, "cosine", error))] if is_trained else []


def _advice(stage: Stage, metric: str, error: FormatError) -> str:
    """Return what to do where an int8 file is not within a limit."""
    own, fitted = error.int8_relative_l2, error.int8_fitted_relative_l2
    if stage.precision != "int8":
        return ""
    if metric == "relative_l2":  # which the simulation holds by itself
        return _TOO_MUCH
    if own > 2 * fitted:
        return _RANGES_LOSE.format(fitted, own)
    return _FORMAT_LOSES if own > _LOST / 2 else _TOO_MUCH


def _derived(stage: Stage, error: FormatError, drift: float, is_trained: bool) -> list[Bound]:
    if error.labels:
        return [label_bound(stage, error, drift)]
    if stage.precision in _CHANGES:
        change, own = _CHANGES[stage.precision], error.relative_l2(stage.precision)
        allowed = f" + {drift:g} of the approximate rewrites' max_drift" if drift else ""
        limit, floor = FORMAT_SHARE * own, FLOAT32_TOLERANCE * error.float32_relative_l2
        text = f"{FORMAT_SHARE} x {own:.2e}, the change when {change}{allowed}"
        if limit < floor:  # a small model's weights stay in float
            own = error.float32_relative_l2
            text = f"{FLOAT32_TOLERANCE} x {own:.2e}, the reference's own distance from float64{allowed}"
        orders = ORDERS_TOLERANCE * error.float32_orders_relative_l2
        text += f" + {orders:.2e} for sums in other orders" if orders > _TOLD * max(limit, floor) else ""
        bound = Bound("relative_l2", max(limit, floor) + orders + drift, text, _advice(stage, "relative_l2", error))
        return [bound, *([] if drift else [*_promises(stage, error, is_trained), *_task(stage, error)])]
    if drift:
        return [Bound("relative_l2", drift, "the approximate rewrites' max_drift")]
    floor = FLOAT32_EPS * ULP * error.scale
    limit = max(FLOAT32_TOLERANCE * error.float32_max_abs, ORDERS_TOLERANCE * error.float32_orders_max_abs, floor)
    text = (
        f"largest of {FLOAT32_TOLERANCE} x {error.float32_max_abs:.2e}, the reference's own distance from float64, "
        f"{ORDERS_TOLERANCE} x {error.float32_orders_max_abs:.2e}, that with sums in other orders, and "
        f"{FLOAT32_EPS} x 2^-24 of the largest output, {error.scale:.3g}"
    )
    return [Bound("max_abs", limit, text), _eps_budget(error), *_task(stage, error)]


def _eps_budget(error: FormatError) -> Bound:
    """Return how far a float32 stage may be from the reference's float64 run.

    Both are exact but for rounding, so the stage's distance is another draw of the reference's own: the same budget
    that rewrites are held to, or what sums in other orders need.
    """
    unit = ULP * error.scale
    own = error.float32_max_abs / unit if unit else 0.0
    others = error.float32_orders_max_abs / unit if unit else 0.0
    text = (
        f"largest of {TOLERANCE_FACTOR} x {own:.3g}, the reference's own distance from its float64 run, "
        f"{ANOTHER_ORDER} x {others:.3g}, that with sums in other orders, and {FLOOR}, in units of 2^-24 of the "
        "largest output"
    )
    return Bound("max_error_eps", max(TOLERANCE_FACTOR * own, ANOTHER_ORDER * others, FLOOR), text)


def _task(stage: Stage, error: FormatError) -> list[Bound]:
    """Return what the classification must keep, where the outputs are one."""
    word = stage.precision
    stable = error.stable.get(word)
    if stable is None:
        return []
    far = f"{FLOAT32_TOLERANCE} x rounding" if word == "float32" else f"{FORMAT_SHARE} x what {word} changes"
    shares = {
        "top1_agreement": (stable.top1, "share of inputs whose first class leads by more than"),
        "topk_agreement": (stable.topk, "share of the first k places that lead the next by more than"),
        "top1": (stable.top1_correct, "share of inputs whose label's class leads by more than"),
    }
    return [
        Bound(metric, share, f"{what} {far}", _advice(stage, metric, error))
        for metric, (share, what) in shares.items()
        if share  # none is stable where rounding shifts more than every lead, as with random weights
    ]
