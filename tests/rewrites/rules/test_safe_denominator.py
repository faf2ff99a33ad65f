"""The denominator of linear attention gets a floor."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.fx import GraphModule
from torch.nn import functional as F

from mobilekit.models.linear_attention import ReLULinearAttention
from mobilekit.rewrites.base import Exactness
from mobilekit.rewrites.fx.graph import trace
from mobilekit.rewrites.proof import relative_error
from mobilekit.rewrites.rules.safe_denominator import SafeDenominator, SafeDenominatorOptions
from tests.rewriting import (
    Forward,
    Model,
    assert_refused_for_a_reason,
    normal,
    reasons,
    rewritten,
)

SAFE = SafeDenominator(SafeDenominatorOptions())
X = normal(1, 2, 12, 5, 4)


class Attention(nn.Module):
    """ReLU linear attention on the channels of a map."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.attention = ReLULinearAttention(eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = x.flatten(2).chunk(3, 1)
        out: torch.Tensor = self.attention(q, k, v)
        return out


def test_a_denominator_gets_a_floor() -> None:
    model = Attention(1e-15).double()
    assert SAFE.exactness is Exactness.APPROXIMATE
    assert reasons(SAFE, model, X) == [None]
    graph = rewritten(SAFE, model, X)
    with torch.no_grad():
        assert torch.equal(model(X), graph(X)), "no denominator is near the floor"
        assert torch.equal(model(0 * X), graph(0 * X))
        small = 1e-3 * X  # denominators are the square of that
        assert relative_error(model(small), graph(small)) > 0.01
    bound = "its denominator is never below 6.10352e-05"
    assert reasons(SAFE, graph, X) == [bound]


def test_below_the_floor_the_change_is_within_the_stated_bound() -> None:
    floor = 0.25
    model = Model({}, lambda m, x: x[:, :6] / (x[:, 6:].relu() + 1e-3))
    graph = rewritten(SafeDenominator(SafeDenominatorOptions(floor=floor)), model, X)
    numerator, denominator = X[:, :6], X[:, 6:].relu() + 1e-3
    with torch.no_grad():
        change = (graph(X) - model(X)).abs()
    assert torch.equal(change == 0, denominator >= floor)
    bound = numerator.abs() * (1 / denominator - 1 / floor).clamp(min=0)
    assert bool((change <= bound * (1 + 1e-12)).all())
    assert change.max() > 1


def test_in_float16_the_floor_is_what_keeps_numbers_numbers() -> None:
    x = torch.zeros(1, 12, 2, 2)
    for eps, floor, is_finite in ((1e-15, None, False), (1e-15, 2.0**-14, True), (1e-3, None, True)):
        graph: GraphModule = trace(Attention(eps), {"input": x})
        if floor:
            graph = rewritten(SAFE, Attention(eps), x)
        with torch.no_grad():
            assert bool(torch.isfinite(graph.half()(x.half())).all()) == is_finite


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: x / (x.mean((2, 3), keepdim=True) + 1e-5), "its denominator may be negative"),
        (lambda m, x: x / (x.relu() - 1e-5), "its denominator may be negative"),
        (lambda m, x: x / (x.relu() @ x[:, :, :4] + 1), "its denominator may be negative"),
        (lambda m, x: x / (F.interpolate(x.relu(), (4, 4), mode="bicubic") + 1e-5), "its denominator may be negative"),
    ],
)
def test_denominators_of_unknown_sign_stay(forward: Forward, reason: str) -> None:
    assert_refused_for_a_reason(SAFE, Model({}, forward), X[:, :, :4, :4], reason)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: x / (x.relu() + 1e-4),
        lambda m, x: x / (x.sigmoid() + 1),
        lambda m, x: x / x.clamp(min=0.5),
        lambda m, x: x / torch.clamp(x, 0.5, 2),
        lambda m, x: x / (0.5 + x.relu().clamp(0.25)),
    ],
)
def test_denominators_that_are_never_that_low_stay(forward: Forward) -> None:
    """A floor would change nothing there: the refusal spares an op."""
    model = Model({}, forward)
    [told] = reasons(SAFE, model, X)
    assert str(told).startswith("its denominator is never below")
    with torch.no_grad():
        assert torch.equal(model(X), rewritten(SAFE, model, X)(X))


def test_divisions_by_numbers_are_not_its_business() -> None:
    assert reasons(SAFE, Model({}, lambda m, x: x / 6 + x / x.shape[1]), X) == []
