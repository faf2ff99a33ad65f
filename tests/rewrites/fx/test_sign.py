"""Lower bounds of what a graph computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.rewrites.fx.sign import lower_bound
from tests.rewriting import (
    Forward,
    Layers,
    Model,
    normal,
    traced,
)

X = normal(1, 2, 12, 5, 4)
SIGNS: list[tuple[Forward, float | None]] = [
    (lambda m, x: x, None),
    (lambda m, x: x.relu(), 0.0),
    (lambda m, x: F.relu6(x) + 2, 2.0),
    (lambda m, x: x.clamp(0, 6), 0.0),
    (lambda m, x: torch.clamp(x, max=1), None),
    (lambda m, x: x.clamp(min=-2), -2.0),
    (lambda m, x: x.sigmoid() * x.exp(), 0.0),
    (lambda m, x: x.sigmoid() * x, None),
    (lambda m, x: torch.cat([x.relu(), x.softmax(1)], 1), 0.0),
    (lambda m, x: torch.cat([x.relu(), x], 1), None),
    (lambda m, x: F.avg_pool2d(x.relu(), 2).flatten(1).mean(1).unsqueeze(1), 0.0),
    (lambda m, x: F.interpolate(x.relu(), scale_factor=2, mode="bilinear"), 0.0),
    (lambda m, x: F.interpolate(x.relu(), scale_factor=2, mode="bicubic"), None),
    (lambda m, x: (x.relu() / (x.relu() + 1)).transpose(1, 2), 0.0),
    (lambda m, x: x.relu() - 1, None),
    (lambda m, x: m.act(x).chunk(2, 1)[0], 0.0),
]


@pytest.mark.parametrize(("forward", "bound"), SIGNS)
def test_lower_bounds_hold_and_are_found(forward: Forward, bound: float | None) -> None:
    made: Layers = {"act": nn.ReLU()}
    graph = traced(Model(made, forward), X)
    [output] = next(node for node in graph.graph.nodes if node.op == "output").all_input_nodes
    assert lower_bound(graph, output) == bound
    if bound is not None:
        with torch.no_grad():
            assert graph(5 * X).min() >= bound
