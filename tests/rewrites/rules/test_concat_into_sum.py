"""A concatenation before a dense convolution as a sum: exact, and refused where it is not or does not pay."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.rewrites.base import Options
from mobilekit.rewrites.fx.graph import path_of
from mobilekit.rewrites.rules.concat_into_sum import ConcatIntoSum, Sum
from tests.rewriting import (
    Forward,
    Layers,
    Model,
    assert_exact,
    assert_kept,
    assert_refused_for_a_reason,
    calls,
    normal,
    quick,
    reasons,
    rewritten,
    seeds,
    sizes,
    traced,
)

ACTION = ConcatIntoSum(Options())
X, OTHER = normal(1, 2, 3, 8, 7), normal(2, 1, 3, 9, 10)


def layers() -> Layers:
    return {
        "a": nn.Conv2d(3, 8, 1),
        "b": nn.Conv2d(3, 6, 3, padding=1),
        "deep": nn.Conv2d(14, 14, 3, 2, 1, groups=14),
        "end": nn.Conv2d(14, 4, 1),
        "other": nn.Conv2d(14, 2, 3, padding=1, dilation=1, bias=False),
        "relu": nn.ReLU(),
        "pool": nn.AdaptiveAvgPool2d(1),
    }


FORMS: dict[str, Forward] = {
    "a convolution": lambda m, x: m.end(torch.cat([m.a(x), m.b(x)], 1)),
    "by name": lambda m, x: m.end(torch.cat(tensors=[m.a(x), m.b(x)], dim=-3)),
    "a depthwise one between": lambda m, x: m.end(m.deep(torch.cat([m.a(x), m.b(x)], 1))),
    "functions between": lambda m, x: m.end(F.hardswish(m.relu(m.deep(torch.cat([m.a(x), m.b(x)], 1)))).sigmoid()),
    "a window of three": lambda m, x: m.other(torch.cat([m.b(x), m.a(x)], 1)),
    "a change in place between": lambda m, x: m.end(torch.cat([m.a(x), m.b(x)], 1).relu_()),
    "two ends": lambda m, x: F.pad(m.end(y := torch.cat([m.a(x), m.b(x)], 1)), (0, 0)).sum(1) + m.other(y).sum(1),
    "a pool and a layer": lambda m, x: m.end(m.pool(y := torch.cat([m.a(x), m.b(x)], 1))).mean(1) + m.other(y).sum(1),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_function_stays_and_the_concatenation_goes(form: str) -> None:
    graph = assert_exact(ACTION, Model(layers(), FORMS[form]), X, OTHER)
    assert not [node for node in graph.graph.nodes if node.target is torch.ops.aten.cat.default]
    assert calls(graph, Sum)


@quick
@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=4), st.integers(1, 3), st.sampled_from([1, 3]), st.booleans(),
    sizes, sizes, seeds,
)  # fmt: skip
def test_any_parts(widths: list[int], outputs: int, kernel: int, bias: bool, h: int, w: int, seed: int) -> None:
    """Allowed exactly where the additions move fewer values: three for each of theirs, two for each that is copied."""
    names = [f"part{index}" for index in range(len(widths))]
    parts = {name: nn.Conv2d(3, width, 1) for name, width in zip(names, widths, strict=True)}
    end = nn.Conv2d(sum(widths), outputs, kernel, 1, kernel // 2, bias=bias)
    deep = nn.Conv2d(sum(widths), sum(widths), 3, 1, 1, groups=sum(widths), bias=bias)
    forward: Forward = lambda m, x: m.end(m.deep(torch.cat([getattr(m, name)(x) for name in names], 1)))  # noqa: E731
    model = Model({**parts, "deep": deep, "end": end}, forward, seed)
    x = normal(seed, 2, 3, h, w)
    if 3 * outputs * (len(widths) - 1) < 2 * sum(widths):
        graph = assert_exact(ACTION, model, x, normal(seed, 1, 3, w + 1, h))
        assert len(calls(graph, Sum)) == len(widths) - 1
    else:
        [told] = reasons(ACTION, model, x)
        assert told is not None
        assert "the sums have" in told


def test_what_it_saves_is_said() -> None:
    model = Model(layers(), FORMS["a convolution"])
    [site] = ACTION.find(traced(model, X))
    assert site.detail == f"{14 * 8 * 7:,} values not copied, {4 * 8 * 7} added"


def test_the_new_layers_stand_beside_the_old() -> None:
    graph = rewritten(ACTION, Model(layers(), FORMS["a depthwise one between"]), X)
    assert [path_of(node) for node in calls(graph, nn.Conv2d)] == ["a", "b", "deep_1", "deep_2", "end_1", "end_2"]


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (
            lambda m, x: m.end(y := torch.cat([m.a(x), m.b(x)], 1)).sum() + y.softmax(1),
            "takes it whole",
        ),
        (lambda m, x: m.end(torch.cat([m.a(x), m.b(x)], 1).mul(m.join(x))), None),
        (lambda m, x: m.end(y := torch.cat([m.a(x), m.b(x)], 1)).sum() * y, "takes it whole"),
        (lambda m, x: m.end(y := torch.cat([m.a(x), m.b(x)], 1)).sum() + y.relu_(), "takes it whole"),
        (lambda m, x: m.end(y := torch.cat([m.a(x), m.b(x)], 1)) + m.end(y), None),
    ],
)
def test_what_needs_the_whole_concatenation_keeps_it(forward: Forward, reason: str | None) -> None:
    """None: no step leads from the concatenation to a dense convolution of its own, and there is no site."""
    model = Model({**layers(), "join": nn.Conv2d(3, 14, 1, 1)}, forward)
    if reason is None:
        assert reasons(ACTION, model, X) == []
    else:
        assert_refused_for_a_reason(ACTION, model, X, reason)


def test_sums_that_are_larger_than_what_they_replace_are_refused() -> None:
    """A matter of cost: the function would be the same."""
    model = Model({**layers(), "end": nn.Conv2d(14, 10, 1)}, FORMS["a convolution"])
    [told] = reasons(ACTION, model, X)
    assert told == f"the sums have {2 * 10 * 56:,} values, and the concatenation {2 * 14 * 56:,}"
    assert rewritten_by_hand(model, X) <= 1e-12


def rewritten_by_hand(model: nn.Module, x: torch.Tensor) -> float:
    """Return how far W1 a + W2 b is from W [a, b], by the weights of the model itself."""
    a, b = model.a(x), model.b(x)  # type: ignore[operator]
    weight, bias = model.end.weight, model.end.bias  # type: ignore[union-attr]
    total = F.conv2d(a, weight[:, :8], bias) + F.conv2d(b, weight[:, 8:])  # type: ignore[index,arg-type]
    with torch.no_grad():
        return float((total - model(x)).abs().max() / model(x).abs().max())


def test_a_concatenation_along_another_axis_is_no_site() -> None:
    model = Model(layers(), lambda m, x: m.end(torch.cat([m.join(x), m.join(x)], 2)) if hasattr(m, "join") else x)
    model.join = nn.Conv2d(3, 14, 1).double()
    assert reasons(ACTION, model, X) == []
    assert_kept(model, traced(model, X), X)
