"""A 1xK and a Kx1 depthwise convolution as one KxK convolution."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.rewrites.fx.graph import shape_of
from mobilekit.rewrites.rules.merge_depthwise import BorderedBias, MergeDepthwise
from mobilekit.rewrites.sites import SiteOptions
from tests.rewriting import (
    Forward,
    Layers,
    Model,
    assert_exact,
    calls,
    normal,
    quick,
    reasons,
    rewritten,
    seeds,
    sizes,
    traced,
)

MERGE = MergeDepthwise(SiteOptions())
X = normal(0, 2, 4, 7, 9)


def along(axis: int, channels: int = 4, kernel: int = 5, padding: int = 2, bias: bool = True) -> nn.Conv2d:
    size, pads = ((kernel, 1), (padding, 0)) if axis == 2 else ((1, kernel), (0, padding))
    return nn.Conv2d(channels, channels, size, padding=pads, groups=channels, bias=bias)


def layers() -> Layers:
    return {"across": along(3), "down": along(2), "bn": nn.BatchNorm2d(4), "square": nn.Conv2d(4, 4, 3, groups=4)}


def dfc(m: Model, x: torch.Tensor) -> torch.Tensor:
    return m.down(m.across(x)).sigmoid()


kernels = st.tuples(st.integers(2, 6), st.integers(0, 4))


@quick
@given(st.integers(2, 5), kernels, kernels, st.booleans(), st.booleans(), st.booleans(), sizes, sizes, seeds)
def test_kernels_paddings_biases_and_sizes(
    channels: int,
    first: tuple[int, int],
    second: tuple[int, int],
    first_bias: bool,
    second_bias: bool,
    turned: bool,
    height: int,
    width: int,
    seed: int,
) -> None:
    axes = (2, 3) if turned else (3, 2)
    made = {"a": along(axes[0], channels, *first, first_bias), "b": along(axes[1], channels, *second, second_bias)}
    model = Model(made, lambda m, x: m.b(m.a(x)) * 2, seed)
    sized = (normal(seed, 2, channels, height + 1, width), normal(seed, 1, channels, width + 1, height))
    graph = assert_exact(MERGE, model, *sized)
    [conv] = calls(graph, nn.Conv2d)
    assert len(calls(graph, BorderedBias)) == first_bias
    merged = graph.get_submodule(str(conv.target))
    assert isinstance(merged, nn.Conv2d)
    assert sorted(merged.kernel_size) == sorted((first[0], second[0]))


def test_the_border_needs_more_than_a_bias() -> None:
    """With the plain sum of both biases the first and last rows would be wrong, and no others."""
    model = Model(layers(), lambda m, x: m.down(m.across(x)))
    first, second = model.across, model.down
    plain = second.bias + second.weight.sum((1, 2, 3)) * first.bias
    merged = F.conv2d(X, first.weight * second.weight, plain, padding=2, groups=4)
    wrong = (merged - model(X)).abs().amax((0, 1, 3)) > 1e-6
    assert wrong.tolist() == [True, True, False, False, False, True, True]


def test_the_constant_is_one_column() -> None:
    """It is the same along the other axis, so that the file does not carry a map."""
    graph = assert_exact(MERGE, Model(layers(), dfc), X)
    [added] = calls(graph, BorderedBias)
    module = graph.get_submodule(str(added.target))
    assert shape_of(added) == (2, 4, 7, 9)
    with torch.no_grad():
        column = module(torch.zeros(1, 4, 7, 1, dtype=torch.float64))
        assert torch.equal(module(torch.zeros(1, 4, 7, 9, dtype=torch.float64)), column.expand(1, 4, 7, 9))
        assert torch.allclose(column[..., 3, 0], module.weight.sum((1, 2, 3)) * module.before + module.bias)


def test_what_it_costs_is_said() -> None:
    """25 products in place of 10, for each of 4 x 7 x 9 values of a batch of 2."""
    [site] = MERGE.find(traced(Model(layers(), dfc), X))
    assert site.detail == f"+{15 * 2 * 4 * 7 * 9:,} MACs"


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: m.down(y := m.across(x)) + y, "others take the map between"),
        (lambda m, x: m.down(m.across(x)) + m.across(x + 1), "across is called more than once"),
        (lambda m, x: m.down(m.across(m.down(x).relu())), "down is called more than once"),
    ],
)
def test_what_is_needed_otherwise_stays(forward: Forward, reason: str) -> None:
    [told] = reasons(MERGE, Model(layers(), forward), X)
    assert told is not None
    assert reason in told


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.down(m.bn(m.across(x))),
        lambda m, x: m.down(m.across(x).relu()),
        lambda m, x: m.across(m.square(x)),
        lambda m, x: m.square(m.across(x)),
    ],
    ids=["batch norm", "activation", "square before", "square behind"],
)
def test_other_neighbors_are_not_its_business(forward: Forward) -> None:
    assert reasons(MERGE, Model(layers(), forward), X) == []


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(4, 4, (5, 1), stride=(2, 1), padding=(2, 0), groups=4),
        nn.Conv2d(4, 4, (5, 1), dilation=(2, 1), padding=(2, 0), groups=4),
        nn.Conv2d(4, 4, (5, 1), padding=(2, 1), groups=4),
        nn.Conv2d(4, 4, (5, 1), padding=(2, 0), groups=4, padding_mode="reflect"),
        nn.Conv2d(4, 4, (5, 1), padding="same", groups=4),
        nn.Conv2d(4, 4, (5, 1), padding=(2, 0), groups=2),
        nn.Conv2d(4, 8, (5, 1), padding=(2, 0), groups=4),
        along(3),
    ],
    ids=["stride", "dilation", "padding across", "mirrored", "same", "groups", "two kernels each", "the same axis"],
)
def test_other_convolutions_are_not_its_business(other: nn.Conv2d) -> None:
    made = {"across": along(3), "other": other}
    assert reasons(MERGE, Model(made, lambda m, x: m.other(m.across(x))), X) == []


def test_sites_may_be_named() -> None:
    made = {"a": along(3), "b": along(2), "c": along(3), "d": along(2)}
    model = Model(made, lambda m, x: m.d(m.c(m.b(m.a(x)).relu())))
    chosen = MergeDepthwise(SiteOptions(sites=("d",)))
    told = reasons(chosen, model, X)
    assert told[1] is None
    assert "do not name it" in str(told[0])


def test_gradients_pass_through() -> None:
    graph = rewritten(MERGE, Model(layers(), dfc), X).train()
    graph(X).sum().backward()
    assert all(parameter.grad is not None for parameter in graph.parameters())
