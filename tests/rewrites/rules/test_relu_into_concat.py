"""A ReLU after a concatenation goes into the layers that make its parts."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.rewrites.base import Options
from mobilekit.rewrites.rules.relu_into_concat import ReLUIntoConcat
from tests.rewriting import (
    Forward,
    Layers,
    Model,
    assert_exact,
    assert_kept,
    assert_refused_for_a_reason,
    normal,
    reasons,
    rewritten,
    traced,
)

CONCAT = ReLUIntoConcat(Options())
X = normal(1, 2, 3, 8, 7)
OTHER = normal(2, 1, 3, 9, 10)
LAYERS: Layers = {"a": nn.Conv2d(3, 4, 1), "b": nn.Conv2d(3, 2, 1), "relu": nn.ReLU()}
JOINED: dict[str, Forward] = {
    "two layers": lambda m, x: m.relu(torch.cat([m.a(x), m.b(x)], 1)),
    "a part that is not negative": lambda m, x: F.relu(torch.cat([F.avg_pool2d(m.relu(m.a(x)), 1), m.b(x)], dim=1)),
    "no part is negative": lambda m, x: torch.cat((m.a(x).relu(), m.b(x).sigmoid()), 1).relu(),
    "along another axis": lambda m, x: torch.relu(torch.cat([m.a(x), m.a2(x)], 2)),
    "by name": lambda m, x: m.relu(torch.cat(tensors=[m.a(x), m.b(x)], dim=1)),
    "in place": lambda m, x: torch.cat([m.a(x), m.b(x)], 1).relu_(),
}


@pytest.mark.parametrize("form", JOINED)
def test_a_relu_goes_into_the_parts(form: str) -> None:
    graph = assert_exact(CONCAT, Model({**LAYERS, "a2": nn.Conv2d(3, 4, 1)}, JOINED[form]), X, OTHER)
    assert reasons(CONCAT, graph, X) == []


def test_only_parts_that_may_be_negative_get_one() -> None:
    model = Model(LAYERS, JOINED["a part that is not negative"])
    [site] = CONCAT.find(traced(model, X))
    assert site.detail == "1 of 2 parts are never negative"
    graph = rewritten(CONCAT, model, X)
    assert sum(node.target is torch.ops.aten.relu.default for node in graph.graph.nodes) == 2, "its own, and one more"


def test_a_concatenation_that_others_take_stays() -> None:
    forward = lambda m, x: F.relu(y := torch.cat([m.a(x), m.b(x)], 1)) + y  # noqa: E731
    assert_refused_for_a_reason(CONCAT, Model(LAYERS, forward), X, "is used without the ReLU too")


def test_a_relu_that_would_stay_an_op_is_not_moved() -> None:
    """A matter of cost: the function would be the same."""
    model = Model(LAYERS, lambda m, x: F.relu(torch.cat([m.a(x), x - 1], 1)))
    [told] = reasons(CONCAT, model, X)
    assert told is not None
    assert "would be an op of its own" in told
    assert_kept(model, rewritten(CONCAT, model, X), X)


def test_parts_of_a_split_are_parts() -> None:
    model = Model(LAYERS, lambda m, x: F.relu(torch.cat(x.split(1, 1), 1)))
    assert reasons(CONCAT, model, X) == ["the ReLU of its part getitem would be an op of its own"]
