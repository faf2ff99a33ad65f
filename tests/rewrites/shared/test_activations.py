"""Activations in all the ways to write them, swapped for cheaper ones where a recipe names them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.errors import UsageError
from mobilekit.rewrites.base import Exactness, Rewrite
from mobilekit.rewrites.fx.graph import path_of
from mobilekit.rewrites.proof import relative_error
from mobilekit.rewrites.rules.gelu_hard_swish import GeluHardSwish
from mobilekit.rewrites.rules.hard_sigmoid import HardSigmoid
from mobilekit.rewrites.rules.hard_swish import HardSwish
from mobilekit.rewrites.rules.tanh_gelu import TanhGelu
from mobilekit.rewrites.sites import SiteOptions
from tests.rewriting import (
    Forward,
    Layers,
    Model,
    normal,
    reasons,
    rewritten,
    traced,
)

SWISH, SIGMOID, TANH, GELU = (kind(SiteOptions()) for kind in (HardSwish, HardSigmoid, TanhGelu, GeluHardSwish))
X = normal(1, 2, 3, 5, 6)


def layers(**others: nn.Module) -> Layers:
    return {
        "conv": nn.Conv2d(3, 4, 3, padding=1),
        "last": nn.Conv2d(4, 2, 1),
        "silu": nn.SiLU(),
        "silu_in_place": nn.SiLU(inplace=True),
        "sigmoid": nn.Sigmoid(),
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


def test_a_swapped_activation_keeps_its_path() -> None:
    graph = rewritten(SWISH, after_conv(SILUS["nn.SiLU in place"]), X)
    [node] = [node for node in graph.graph.nodes if node.target is torch.ops.aten.hardswish.default]
    assert path_of(node) == "silu_in_place"


def test_what_a_model_changes_in_place_is_changed_by_the_new_function() -> None:
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
