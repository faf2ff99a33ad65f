"""A gate moves before a nearest upsampling and keeps every bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.rewrites.base import Options
from mobilekit.rewrites.fx.graph import node_named
from mobilekit.rewrites.rules.gate_before_upsample import GateBeforeUpsample
from tests.rewriting import (
    Layers,
    Model,
    assert_exact,
    assert_refused_for_a_reason,
    normal,
    reasons,
    rewritten,
)

GATE = GateBeforeUpsample(Options())
GATES: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "nn.Sigmoid": lambda m, x: m.sigmoid(x),
    "torch.sigmoid": lambda m, x: torch.sigmoid(x),
    "torch.sigmoid by name": lambda m, x: torch.sigmoid(input=x),
    "F.sigmoid": lambda m, x: F.sigmoid(x),
    "method": lambda m, x: x.sigmoid(),
    "nn.Hardsigmoid": lambda m, x: m.hardsigmoid(x),
    "F.hardsigmoid": lambda m, x: F.hardsigmoid(x),
}
UPSAMPLES: dict[str, Callable[[Any, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "size": lambda m, small, x: F.interpolate(small, size=(x.shape[2], x.shape[3])),
    "scale": lambda m, small, x: F.interpolate(small, scale_factor=2, mode="nearest"),
    "positional": lambda m, small, x: F.interpolate(small, None, 2, "nearest"),
    "by name": lambda m, small, x: F.interpolate(input=small, size=x.shape[2:], mode="nearest-exact"),
    "nn.Upsample": lambda m, small, x: m.up(small),
    "nn.Upsample size": lambda m, small, x: m.up_to(small),
}


def gate_layers() -> Layers:
    return {
        "conv": nn.Conv2d(3, 2, 3, 2, 1),
        "sigmoid": nn.Sigmoid(),
        "hardsigmoid": nn.Hardsigmoid(),
        "up": nn.Upsample(scale_factor=2),
        "up_to": nn.Upsample(size=(7, 11)),
        "bilinear": nn.UpsamplingBilinear2d(scale_factor=2),
        "inplace": nn.Hardsigmoid(inplace=True),
    }


@pytest.mark.parametrize("upsample", UPSAMPLES)
@pytest.mark.parametrize("gate", GATES)
def test_moving_a_gate_keeps_every_bit(gate: str, upsample: str) -> None:
    model = Model(gate_layers(), lambda m, x: GATES[gate](m, UPSAMPLES[upsample](m, m.conv(x), x)) * 2)
    x = normal(0, 2, 3, 7, 9)
    assert reasons(GATE, model, x) == [None]
    graph = rewritten(GATE, model, x)
    with torch.no_grad():
        assert torch.equal(model(x), graph(x))
    [site] = GATE.find(graph)  # the gate is still there, and now the upsample takes its result
    moved = node_named(graph, site.node)
    assert str(moved.args[0] if moved.args else moved.kwargs["input"]) == "conv"
    [user] = moved.users
    assert "up" in user.name or "interpolate" in user.name
    assert [GATE.why_not(graph, site)] == ["the gate is on the small map already"]


@pytest.mark.parametrize("size", [(6, 6), (5, 8), (1, 1)])
@torch.no_grad()
def test_so_it_does_at_all_sizes(size: tuple[int, int]) -> None:
    model = Model(gate_layers(), lambda m, x: UPSAMPLES["size"](m, m.conv(x), x).sigmoid() * 2)
    x = normal(1, 2, 3, *size)
    assert torch.equal(model(x), rewritten(GATE, model, x)(x))


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: m.sigmoid(F.interpolate(m.conv(x), scale_factor=2, mode="bilinear")), "the upsample is bilinear"),
        (lambda m, x: m.sigmoid(m.bilinear(m.conv(x))), "the upsample is bilinear"),
        (lambda m, x: F.interpolate(m.conv(x), None, 2, "bicubic").sigmoid(), "the upsample is bicubic"),
        (lambda m, x: (y := m.up(m.conv(x))) + m.sigmoid(y), "used elsewhere too"),
        (lambda m, x: m.up(m.sigmoid(m.conv(x))), "on the small map already"),
    ],
)
def test_gates_that_must_stay_are_refused(forward: Callable[[Any, torch.Tensor], torch.Tensor], reason: str) -> None:
    assert_refused_for_a_reason(GATE, Model(gate_layers(), forward), normal(3, 1, 3, 8, 8), reason)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.inplace(m.up(y := m.conv(x))).mean() + y,
        lambda m, x: F.hardsigmoid(m.up(y := m.conv(x)), inplace=True).mean() + y,
    ],
)
def test_a_gate_in_place_leaves_the_small_map(forward: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
    assert_exact(GATE, Model(gate_layers(), forward), normal(3, 1, 3, 8, 8))


def test_a_gate_without_an_upsample_is_not_this_rewrites_business() -> None:
    assert reasons(GATE, Model(gate_layers(), lambda m, x: m.sigmoid(m.conv(x))), normal(3, 1, 3, 8, 8)) == []
