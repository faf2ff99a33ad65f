"""How far an approximate rewrite moves the outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from mobilekit.store.bundle import INPUT

_PIXELS_AT_ONCE = 4 * 224 * 224
"""More at once are no faster and take more memory."""


def at_once(inputs: Mapping[str, torch.Tensor]) -> int:
    """Return how many of the inputs, among them images (N, C, H, W), to run in one batch."""
    images = inputs[INPUT]
    return max(1, _PIXELS_AT_ONCE // (images.shape[-2] * images.shape[-1]))


@dataclass(frozen=True)
class Drift:
    """The change of a model's outputs, of several outputs the worst."""

    relative_l2: float
    """L2 norm of the change over that of the outputs before it."""
    top1_agreement: float
    """Share of the inputs whose largest output is the same one."""


def drift_between(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]) -> Drift:
    """Measure the outputs (N, ...) after a change against those before it; a figure that is not a number stays one."""
    changes = [_change(old, after[name]) for name, old in before.items()]
    same = [_same(old, after[name]) for name, old in before.items()]
    worst = float(torch.tensor(changes, dtype=torch.float64).max())  # Python's max would lose a NaN
    return Drift(worst, min(same))


def _change(before: torch.Tensor, after: torch.Tensor) -> float:
    """Return the relative L2 norm of a change; of labels, the share that differs."""
    if not before.is_floating_point():
        return float((after != before).double().mean())
    change, own = torch.linalg.vector_norm(after - before), torch.linalg.vector_norm(before)
    return float(change / own) if bool(change != 0) else 0.0


def _same(before: torch.Tensor, after: torch.Tensor) -> float:
    """Return the share of inputs whose largest output is the same one; of labels, the share of equal ones."""
    if not before.is_floating_point():
        return float((after == before).double().mean())
    rows = (tensor.reshape(len(tensor), -1).argmax(1) for tensor in (before, after))
    return float((next(rows) == next(rows)).double().mean())


def finite(value: float | None) -> float | None:
    """Return a figure for JSON, which has neither NaN nor infinity: None in their place."""
    return value if value is not None and math.isfinite(value) else None
