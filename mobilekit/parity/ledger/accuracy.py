"""What labels say of a model: whether they fit it at all, and how much of its top-1 a file may lose."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from mobilekit.parity.ledger.result import GateResult, Ledger
from mobilekit.recipes.gates import AccuracyGate
from mobilekit.store.stages import Precision, Stage, tflite_stage

_SHOWN = 3
_ROUNDING = 1e-9  # of a difference of two shares


def doubt_of(top1: float | None, count: int, classes: int, names: Sequence[str] = ()) -> str:
    """Return why a reference is doubted that is right no more often than guessing is; nothing where it is not.

    Guessing among C classes is right on 1/C of n inputs, with a deviation of sqrt((1/C) (1 - 1/C) / n): what is within
    two of these, and not all, is no better.

    Args:
        top1: The share of inputs on which it is right; None without labels.
        count: The number of inputs.
        classes: The number of classes.
        names: Of the classes, by their numbers, where they are known.
    """
    chance = 1 / classes
    if top1 is None or classes < 2 or top1 == 1 or top1 > chance + 2 * math.sqrt(chance * (1 - chance) / count):
        return ""
    order = f" ({labels_in_words(names)})" if names else ""
    return (
        f"it is right on {100 * top1:.4g} % of {count} inputs, and guessing among {classes} classes "
        f"on {100 * chance:.3g} %: the labels may be in another order than the outputs{order}, or the pictures "
        "prepared in another way than in training"
    )


def labels_in_words(names: Sequence[str]) -> str:
    """Return the order of labels: `0 cat, 1 dog, 2 emu, ..., 9 yak`."""
    words = [f"{place} {name}" for place, name in enumerate(names)]
    return ", ".join(words if len(words) <= _SHOWN + 1 else [*words[:_SHOWN], "...", words[-1]])


def check_accuracy(ledger: Ledger, gate: AccuracyGate, precisions: Iterable[Precision]) -> Iterator[GateResult]:
    """Hold the files of a ledger to the share of top-1 that they may lose against the reference.

    Without labels there is no top-1, and nothing is judged.

    Args:
        ledger: What was measured.
        gate: What may be lost.
        precisions: Those of the recipe.
    """
    totals = {row.stage: row for row in reversed(ledger.totals.values()) if row.is_total}
    for precision in gate.precision or precisions:
        stage: Stage = tflite_stage(precision)
        if stage not in totals:
            continue
        top1, reference = totals[stage].top1, ledger.reference_top1
        if top1 is None or reference is None:
            why = "the inputs have no labels: --inputs DIR, with a folder for each class, has them"
            yield GateResult(stage.file, "max_top1_drop", gate.max_top1_drop, math.nan, "inconclusive", why)
            continue
        drop = reference - top1
        holds = drop <= gate.max_top1_drop + _ROUNDING
        why = "" if holds else f"{100 * top1:.4g} % for {100 * reference:.4g} %, on {ledger.inputs.count} inputs"
        yield GateResult(stage.file, "max_top1_drop", gate.max_top1_drop, drop, "pass" if holds else "fail", why)
