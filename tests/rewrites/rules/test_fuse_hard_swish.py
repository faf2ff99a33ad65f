"""Hard-Swish in each way to write it becomes one call; other constants and products stay."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.rewrites.base import Options
from mobilekit.rewrites.rules.fuse_hard_swish import FuseHardSwish
from tests.rewriting import (
    Forward,
    Layers,
    Model,
    assert_exact,
    assert_refused_for_a_reason,
    normal,
    quick,
    reasons,
    seeds,
)

aten = torch.ops.aten
FUSE = FuseHardSwish(Options())
X = normal(1, 2, 3, 5, 6)


def layers(**others: nn.Module) -> Layers:
    return {
        "conv": nn.Conv2d(3, 4, 3, padding=1),
        "last": nn.Conv2d(4, 2, 1),
        "hardsigmoid": nn.Hardsigmoid(),
        "relu6": nn.ReLU6(),
        "hardtanh": nn.Hardtanh(0.0, 6.0),
        **others,
    }


def after_conv(act: Forward, **others: nn.Module) -> Model:
    return Model(layers(**others), lambda m, x: m.last(act(m, m.conv(x))))


HARD_SWISHES: dict[str, Forward] = {
    "x * relu6(x + 3) / 6": lambda m, x: x * F.relu6(x + 3) / 6,
    "x * relu6(3 + x) * (1 / 6)": lambda m, x: x * m.relu6(3 + x) * (1 / 6),
    "relu6(x + 3) / 6 * x": lambda m, x: F.relu6(x + 3.0) / 6 * x,
    "1 / 6 * (x * relu6(x + 3))": lambda m, x: 1 / 6 * (x * F.relu6(x + 3)),
    "x / 6 * relu6(x + 3)": lambda m, x: x / 6 * F.relu6(x.add(3)),
    "hardtanh": lambda m, x: torch.mul(x, F.hardtanh(x + 3, 0, 6)).div(6),
    "nn.Hardtanh": lambda m, x: torch.div(torch.mul(x, m.hardtanh(torch.add(x, 3))), 6),
    "clamp": lambda m, x: x * (x + 3).clamp(0, 6) / 6,
    "clamp by name": lambda m, x: x * torch.clamp(x + 3, min=0, max=6) / 6,
    "x * hardsigmoid(x)": lambda m, x: x * F.hardsigmoid(x),
    "nn.Hardsigmoid()(x) * x": lambda m, x: m.hardsigmoid(x) * x,
    "x.mul_(hardsigmoid(x))": lambda m, x: x.mul_(F.hardsigmoid(x)),
    "x.mul_(relu6(x + 3).div_(6))": lambda m, x: x.mul_(F.relu6(x + 3.0).div_(6.0)) + x,
    "hardsigmoid(x).mul_(x)": lambda m, x: (y := F.hardsigmoid(x)).mul_(x) + y,
    "twice as much": lambda m, x: x * F.hardsigmoid(x) * 2,
    "two in a row": lambda m, x: (y := x * F.hardsigmoid(x)) + y * F.relu6(y + 3) / 6,
}


@pytest.mark.parametrize("form", HARD_SWISHES)
def test_each_form_of_hard_swish_becomes_one_call(form: str) -> None:
    sites = 2 if form == "two in a row" else 1
    graph = assert_exact(FUSE, after_conv(HARD_SWISHES[form]), X, normal(2, 1, 3, 1, 1), 3 * X, sites=sites)
    targets = [node.target for node in graph.graph.nodes if node.op != "call_module"]
    assert targets.count(aten.hardswish.default) == sites
    assert not {aten.clamp.default, aten.hardsigmoid.default, aten.div.Tensor} & set(targets)


@quick
@given(st.sampled_from([2.0, 3.0, 4.0]), st.sampled_from([5.0, 6.0, 7.0]), st.sampled_from([3, 6]), seeds)
def test_only_hard_swishs_own_constants_are_taken(shift: float, divisor: float, top: int, seed: int) -> None:
    model = Model(layers(), lambda m, x: m.conv(x) * F.hardtanh(m.conv(x) + shift, 0, top) / divisor, seed)
    assert reasons(FUSE, model, X) == [], "two calls are two tensors"
    model = Model(layers(), lambda m, x: (y := m.conv(x)) * F.hardtanh(y + shift, 0, top) / divisor, seed)
    told = reasons(FUSE, model, X)
    assert len(told) == (top == 6)
    if top == 6:
        assert (told == [None]) == ((shift, divisor) == (3.0, 6.0))


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: x * F.relu6(x + 2) / 6, "it adds 2, not 3"),
        (lambda m, x: x * F.relu6(x + 3) / 5, "it multiplies by 0.2, not 1/6"),
        (lambda m, x: x * F.relu6(x + 3) * 0.17, "it multiplies by 0.17, not 1/6"),
        (lambda m, x: x * F.relu6(x + 3), "it multiplies by 1, not 1/6"),
    ],
)
def test_other_constants_are_refused(forward: Forward, reason: str) -> None:
    assert_refused_for_a_reason(FUSE, after_conv(forward), X, reason)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: x * F.hardsigmoid(2 * x),
        lambda m, x: x.add_(3) * F.relu6(x) / 6,
        lambda m, x: (y := F.relu6(x + 3) / 6) * x + y,
        lambda m, x: x * F.relu6(x + 3) ** 2 / 6,
    ],
)
def test_other_products_are_not_its_business(forward: Forward) -> None:
    """Some of them a reader may see as a Hard-Swish, but for what else takes a part, or overwrites it."""
    assert reasons(FUSE, after_conv(forward), X) == []
