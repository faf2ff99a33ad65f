"""What a classifier is for: the same first class, and the same first k, as the reference's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mobilekit.parity.ledger.result import StableShare

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

TOP_K = 5
"""k where the recipe has none: what ImageNet's papers report beside top-1."""
FEWEST_CLASSES = 10
"""Outputs with fewer classes have no top-k of their own: half of the classes or more would be in it."""


def k_for(classes: int, wanted: int | None) -> int | None:
    """Return the k of top-k for outputs of so many classes; None where there is none.

    Args:
        classes: Their number.
        wanted: The recipe's `top_k`; without, 5 where there are 10 classes or more.
    """
    k = wanted or (TOP_K if classes >= FEWEST_CLASSES else None)
    return k if k is not None and k < classes else None


def topk_agreement(reference: NDArray[np.float64], candidate: NDArray[np.float64], k: int) -> float:
    """Return the share of the reference's first k classes that are among the candidate's first k.

    Args:
        reference: (N, classes).
        candidate: (N, classes).
        k: Less than the number of classes.
    """
    ours, theirs = (_first(outputs, k) for outputs in (reference, candidate))
    return float((ours[:, :, None] == theirs[:, None, :]).any(2).mean())


def stable_share(
    outputs: Floats, changes: Sequence[tuple[float, Floats, Floats]], k: int | None, labels: Labels | None
) -> StableShare:
    """Return how much of a classification stays when the outputs change as far as they may.

    One class overtakes another only if their difference changes by more than the lead. What a format does to the
    differences of an input's outputs is its largest change less its smallest; an input that the simulation hardly
    changes is taken to change as the mean one does.

    Args:
        outputs: float32 (N, classes), what the classes are taken from.
        changes: (times, before, after): after less before is one change, (N, classes), and the outputs may change by
            so many times it. The largest counts.
        k: Of top-k.
        labels: Class numbers (N,).
    """
    reach = np.max([times * _reach(before, after) for times, before, after in changes], axis=0)
    falling = -np.sort(-outputs.astype(np.float64), axis=1)
    leads = falling[:, 0] - falling[:, 1] > reach
    places = None if k is None else falling[:, :k] - falling[:, k : k + 1] > reach[:, None]
    return StableShare(
        top1=float(leads.mean()),
        topk=None if places is None else float(places.mean()),
        top1_correct=None if labels is None else float((leads & (outputs.argmax(1) == labels)).mean()),
    )


def _reach(before: Floats, after: Floats) -> NDArray[np.float64]:
    change = after.astype(np.float64) - before.astype(np.float64)
    reach: NDArray[np.float64] = change.max(1) - change.min(1)
    least: np.float64 = reach.mean()
    return np.maximum(reach, least)


def _first(outputs: NDArray[np.float64], k: int) -> NDArray[np.intp]:
    return np.argsort(-outputs, axis=1, kind="stable")[:, :k]
