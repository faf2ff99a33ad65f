"""Pooling by another rule, and sites that a recipe names."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.rewrites.base import Exactness
from mobilekit.rewrites.proof import relative_error
from mobilekit.rewrites.rules.pool_mode import PoolMode, PoolModeOptions
from tests.rewriting import (
    Forward,
    Layers,
    Model,
    assert_refused_for_a_reason,
    normal,
    reasons,
    rewritten,
)

X = normal(1, 2, 3, 8, 7)


def layers(**others: nn.Module) -> Layers:
    return {
        "max": nn.MaxPool2d(3, 2, 1),
        "positions": nn.MaxPool2d(3, 2, 1, return_indices=True),
        **others,
    }


TO_AVERAGE = PoolMode(PoolModeOptions())
TO_MAX = PoolMode(PoolModeOptions(to="max"))
POOLS: dict[str, tuple[Forward, Forward]] = {
    "functions": (
        lambda m, x: F.max_pool2d(x, 3, 2, 1),
        lambda m, x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    ),
    "modules": (lambda m, x: m.max(x), lambda m, x: m.average(x)),
}


@pytest.mark.parametrize("form", POOLS)
def test_pools_change_places(form: str) -> None:
    made: Layers = {"max": nn.MaxPool2d(2), "average": nn.AvgPool2d(2)}
    maximum, average = (Model(dict(made), forward) for forward in POOLS[form])
    assert PoolMode.exactness is Exactness.NEEDS_RETRAINING
    with torch.no_grad():
        assert torch.equal(rewritten(TO_AVERAGE, maximum, X)(X), average(X))
        assert torch.equal(rewritten(TO_MAX, average, X)(X), maximum(X))
        assert relative_error(maximum(X), average(X)) > 0.1
    assert reasons(TO_AVERAGE, average, X) == reasons(TO_MAX, maximum, X) == []


def test_max_pools_that_no_average_can_follow_are_refused() -> None:
    model = Model(layers(), lambda m, x: F.max_pool2d(x, 2, dilation=2))
    assert_refused_for_a_reason(TO_AVERAGE, model, X, "its windows have gaps")


def test_a_max_pool_that_gives_positions_is_no_site() -> None:
    assert reasons(TO_AVERAGE, Model(layers(), lambda m, x: m.positions(x)[1]), X) == []


def test_modes_of_named_sites_only() -> None:
    action = PoolMode(PoolModeOptions(sites=("other",)))
    assert reasons(action, Model(layers(), lambda m, x: m.max(x)), X) == ["the recipe's sites (other) do not name it"]
