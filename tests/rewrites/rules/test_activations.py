"""Activations in all the ways to write them: swapped where a recipe names them, fused where that is exact."""

from __future__ import annotations

import operator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.errors import UsageError
from mobilekit.rewrites.base import Exactness, Options, Rewrite
from mobilekit.rewrites.proof import relative_error
from mobilekit.rewrites.rules.fuse_hard_swish import FuseHardSwish
from mobilekit.rewrites.rules.gelu_hard_swish import GeluHardSwish
from mobilekit.rewrites.rules.hard_sigmoid import HardSigmoid
from mobilekit.rewrites.rules.hard_swish import HardSwish
from mobilekit.rewrites.rules.tanh_gelu import TanhGelu
from mobilekit.rewrites.sites import SiteOptions
from tests.rewriting import (
    Forward,
    Layers,
    Model,
    assert_exact,
    assert_refused_for_a_reason,
    calls,
    normal,
    quick,
    reasons,
    rewritten,
    seeds,
    traced,
)

FUSE = FuseHardSwish(Options())
SWISH, SIGMOID, TANH, GELU = (kind(SiteOptions()) for kind in (HardSwish, HardSigmoid, TanhGelu, GeluHardSwish))
X = normal(1, 2, 3, 5, 6)


def layers(**others: nn.Module) -> Layers:
    return {
        "conv": nn.Conv2d(3, 4, 3, padding=1),
        "last": nn.Conv2d(4, 2, 1),
        "silu": nn.SiLU(),
        "silu_in_place": nn.SiLU(inplace=True),
        "sigmoid": nn.Sigmoid(),
        "hardsigmoid": nn.Hardsigmoid(),
        "relu6": nn.ReLU6(),
        "hardtanh": nn.Hardtanh(0.0, 6.0),
        "gelu": nn.GELU(),
        "tanh_gelu": nn.GELU(approximate="tanh"),
        **others,
    }


def after_conv(act: Forward, **others: nn.Module) -> Model:
    return Model(layers(**others), lambda m, x: m.last(act(m, m.conv(x))))


def gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


def hard_swish(x: torch.Tensor) -> torch.Tensor:
    return x * (x + 3).clamp(0, 6) / 6


SILUS: dict[str, Forward] = {
    "nn.SiLU": lambda m, x: m.silu(x),
    "nn.SiLU in place": lambda m, x: m.silu_in_place(x),
    "F.silu": lambda m, x: F.silu(x),
    "F.silu in place": lambda m, x: F.silu(x, inplace=True),
    "F.silu by name": lambda m, x: F.silu(input=x),
    "x * torch.sigmoid(x)": lambda m, x: x * torch.sigmoid(x),
    "nn.Sigmoid()(x) * x": lambda m, x: m.sigmoid(x) * x,
    "torch.mul": lambda m, x: torch.mul(x, F.sigmoid(x)),
    "x.mul(x.sigmoid())": lambda m, x: x.mul(x.sigmoid()),
    "x.mul_(x.sigmoid())": lambda m, x: x.mul_(x.sigmoid()),
}
SIGMOIDS: dict[str, Forward] = {
    "nn.Sigmoid": lambda m, x: m.sigmoid(x),
    "torch.sigmoid": lambda m, x: torch.sigmoid(x),
    "x.sigmoid()": lambda m, x: x.sigmoid(),
    "torch.special.expit": lambda m, x: torch.special.expit(x),
}
GELUS: dict[str, Forward] = {
    "nn.GELU": lambda m, x: m.gelu(x),
    "F.gelu": lambda m, x: F.gelu(x),
    "F.gelu by name": lambda m, x: F.gelu(x, approximate="none"),
}
SWAPS = [
    *((SWISH, silu, hard_swish) for silu in SILUS.values()),
    *((SIGMOID, sigmoid, lambda x: (x / 6 + 0.5).clamp(0, 1)) for sigmoid in SIGMOIDS.values()),
    *((TANH, gelu, gelu_tanh) for gelu in GELUS.values()),
    *((GELU, gelu, hard_swish) for gelu in GELUS.values()),
]


@pytest.mark.parametrize(("action", "old", "new"), SWAPS, ids=[*SILUS, *SIGMOIDS, *GELUS, *(f"{g} hs" for g in GELUS)])
def test_swaps_put_the_new_function_there(action: Rewrite[Any], old: Forward, new: Any) -> None:
    assert action.exactness is Exactness.APPROXIMATE
    model = after_conv(old)
    assert reasons(action, model, X) == [None]
    graph = rewritten(action, model, X)
    wanted = after_conv(lambda _m, x: new(x))
    with torch.no_grad():
        assert relative_error(wanted(X), graph(X)) < 1e-12
        assert relative_error(model(X), graph(X)) > 1e-5
    assert action.find(traced(graph, X)) == []


@pytest.mark.parametrize(
    ("action", "forward"),
    [
        (SWISH, lambda m, x: x * torch.sigmoid(x.relu())),
        (SWISH, lambda m, x: x * torch.sigmoid(1.702 * x)),
        (SWISH, lambda m, x: (y := x.sigmoid()) * y),
        (SWISH, lambda m, x: x + torch.sigmoid(x)),
        (SWISH, lambda m, x: F.hardswish(x) + F.gelu(x)),
        (SIGMOID, lambda m, x: m.silu(x)),
        (SIGMOID, lambda m, x: x * m.sigmoid(x)),
        (SIGMOID, lambda m, x: F.hardsigmoid(x)),
        (TANH, lambda m, x: m.tanh_gelu(x) + F.gelu(x, approximate="tanh") + m.silu(x)),
    ],
)
def test_swaps_leave_other_functions_alone(action: Rewrite[Any], forward: Forward) -> None:
    assert reasons(action, after_conv(forward), X) == []


def test_one_module_in_two_roles_is_swapped_in_one_of_them() -> None:
    model = after_conv(lambda m, x: x * m.sigmoid(x) + m.sigmoid(2 * x))
    graph = rewritten(SIGMOID, model, X)
    with torch.no_grad():
        wanted = after_conv(lambda m, x: F.silu(x) + F.hardsigmoid(2 * x))(X)
        assert relative_error(wanted, graph(X)) < 1e-12


def test_a_swapped_module_stays_a_module_under_its_path() -> None:
    graph = rewritten(SWISH, after_conv(SILUS["nn.SiLU in place"]), X)
    [node] = calls(graph, nn.Hardswish)
    assert node.target == "silu_in_place"
    assert graph.get_submodule("silu_in_place").inplace


def test_what_works_in_place_still_does() -> None:
    model = after_conv(lambda m, x: x.mul_(x.sigmoid()) + 0 * x + x)
    graph = rewritten(SWISH, model, X)
    with torch.no_grad():
        assert relative_error(after_conv(lambda m, x: 2 * hard_swish(x))(X), graph(X)) < 1e-12


class Blocks(nn.Module):
    """Three SiLUs with paths of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 1), nn.SiLU())
        self.blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(4, 4, 1), nn.SiLU()) for _ in range(2)])
        self.double().eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return x


def test_a_recipe_names_the_sites() -> None:
    action = HardSwish(SiteOptions(sites=("blocks.*", "nothing-but-*.1")))
    with pytest.raises(UsageError, match=r"hard-swish: no site is named nothing-but-\*\.1") as caught:
        rewritten(action, Blocks(), X)
    assert "stem.1" in caught.value.hint or "blocks" in caught.value.hint
    action = HardSwish(SiteOptions(sites=("blocks.1.*",)))
    refusal = "the recipe's sites (blocks.1.*) do not name it"
    assert reasons(action, Blocks(), X) == [refusal, refusal, None]


# -- fuse-hard-swish ---------------------------------------------------------------------------------------------------

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
    "twice as much": lambda m, x: x * F.hardsigmoid(x) * 2,
    "two in a row": lambda m, x: (y := x * F.hardsigmoid(x)) + y * F.relu6(y + 3) / 6,
}


@pytest.mark.parametrize("form", HARD_SWISHES)
def test_each_form_of_hard_swish_becomes_one_call(form: str) -> None:
    sites = 2 if form == "two in a row" else 1
    graph = assert_exact(FUSE, after_conv(HARD_SWISHES[form]), X, normal(2, 1, 3, 1, 1), 3 * X, sites=sites)
    targets = [node.target for node in graph.graph.nodes if node.op != "call_module"]
    assert targets.count(F.hardswish) == sites
    left = {F.relu6, F.hardtanh, F.hardsigmoid, torch.clamp, operator.truediv, "clamp", "div", "div_", "mul_"}
    assert not left & set(targets)


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
        lambda m, x: (y := F.hardsigmoid(x)).mul_(x) + y,
        lambda m, x: (y := F.relu6(x + 3) / 6) * x + y,
        lambda m, x: x * F.relu6(x + 3) ** 2 / 6,
    ],
)
def test_other_products_are_not_its_business(forward: Forward) -> None:
    """Some of them a reader may see as a Hard-Swish, but for what else takes a part, or overwrites it."""
    assert reasons(FUSE, after_conv(forward), X) == []
