"""What an exact rewrite does to float32's rounding: exact in real arithmetic is not yet harmless in float32."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule

from mobilekit.models.batches import run_in_batches
from mobilekit.models.inputs import Tensors, arguments
from mobilekit.rewrites.drift import at_once
from mobilekit.rewrites.fx.graph import InFloat32
from mobilekit.rewrites.report import Float32Check
from mobilekit.store.bundle import INPUT

COUNT = 4
"""Number of calibration inputs that the rounding is measured on."""
ULP = 2.0**-24
"""Half the spacing of float32 numbers just above 1: the largest relative error of one rounding."""
TOLERANCE_FACTOR = 6
"""How much larger the rounding error may be than the model's own before the rewrite. Another order of the same sums is
an independent evaluation in float32: its largest error of some thousand values may be twice the other's, and sums in
longer chains have up to about 3 times the deviation."""
FLOOR = 4
"""Least budget, in units of 2^-24 of the largest output: the roundings of the last layer."""

Outputs = Mapping[str, torch.Tensor]


def rounding_of(graph: GraphModule, inputs: Tensors, exact: Outputs) -> dict[str, float]:
    """Return the float32 rounding error of each output in units of 2^-24 of its largest value.

    Args:
        graph: The model in float64; left as it is.
        inputs: float64 (N, ...) by name; the first `COUNT` are used.
        exact: The model's outputs for them in float64.
    """
    few = {name: tensor[:COUNT].float() for name, tensor in inputs.items()}
    with torch.no_grad():
        outputs = run_in_batches(_ByName(graph), few, at_once(few))
    return {name: _in_eps(exact[name][:COUNT], output) for name, output in outputs.items()}


class _ByName(nn.Module):
    """A graph in float32 that takes its inputs by name."""

    def __init__(self, graph: GraphModule) -> None:
        super().__init__()
        self.graph = graph
        self.meta = graph.meta
        self.single = InFloat32(graph)

    def forward(self, image: torch.Tensor, /, **further: torch.Tensor) -> Any:
        """Run the graph."""
        return self.single(*arguments(self.graph, {INPUT: image, **further}))


def check(before: Mapping[str, float], after: Mapping[str, float], count: int) -> Float32Check:
    """Hold the rounding after a rewrite, `rounding_of`, to the budget that the rounding before it gives."""
    budgets = {name: max(TOLERANCE_FACTOR * error, FLOOR) for name, error in before.items()}
    worst = max(before, key=lambda name: after[name] / budgets[name])
    return Float32Check(worst, after[worst], budgets[worst], min(count, COUNT))


def _in_eps(exact: torch.Tensor, rounded: torch.Tensor) -> float:
    """Return the error; 0 of labels, of which rounding may change some: the ledger counts them."""
    if not exact.is_floating_point():
        return 0.0
    exact, rounded = exact.double(), rounded.double()
    scale, error = exact.abs().max().item(), (rounded - exact).abs().max().item()
    if not math.isfinite(error):
        return math.inf
    return error / (ULP * scale) if scale else (math.inf if error else 0.0)
