"""The channel shuffle goes into the weights of a neighbor exactly where one can take it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.models.analysis.macs import count_macs
from mobilekit.models.families.shufflenet import channel_shuffle
from mobilekit.rewrites.proof import relative_error
from mobilekit.rewrites.rules.shuffle_into_weights import ShuffleIntoWeights, ShuffleIntoWeightsOptions
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
    sizes,
    traced,
)

FREE = ShuffleIntoWeights(ShuffleIntoWeightsOptions())
ANY = ShuffleIntoWeights(ShuffleIntoWeightsOptions(densify=True))


def permuted(x: torch.Tensor, axes: tuple[int, ...], rank: int = 5) -> torch.Tensor:
    n, c, h, w = x.shape
    split = x.reshape(n, 3, c // 3, h, w) if rank == 5 else x.reshape(n, 3, c // 3, h * w)
    return split.permute(axes).reshape(n, c, h, w)


def layers(**others: nn.Module) -> Layers:
    return {
        "first": nn.Conv2d(5, 12, 1),
        "grouped": nn.Conv2d(5 * 3, 12, 1, groups=3),
        "depthwise": nn.Conv2d(12, 12, 3, 2, 1, groups=12),
        "last": nn.Conv2d(12, 6, 1, groups=3),
        "bn": nn.BatchNorm2d(12),
        **others,
    }


X = normal(1, 2, 5, 5, 6)


@quick
@given(
    st.sampled_from([1, 2, 3]), st.booleans(), st.booleans(), st.sampled_from([1, 3]), st.integers(1, 2),
    st.booleans(), st.booleans(), sizes, sizes, seeds,
)  # fmt: skip
def test_a_shuffle_goes_into_either_neighbor(
    groups: int, dense_before: bool, dense_after: bool, kernel: int, stride: int, depthwise_first: bool, bias: bool,
    h: int, w: int, seed: int,
) -> None:  # fmt: skip
    """A unit of ShuffleNet, with the shuffle before or after the depthwise convolution."""
    made = {
        "compress": nn.Conv2d(6, 12, kernel, padding=kernel // 2, groups=1 if dense_before else groups, bias=bias),
        "depthwise": nn.Conv2d(12, 12, 3, stride, 1, groups=12, bias=bias),
        "expand": nn.Conv2d(12, 18, 1, groups=1 if dense_after else groups),
    }

    def forward(m: Model, x: torch.Tensor) -> torch.Tensor:
        x = F.relu6(m.compress(x))
        if depthwise_first:
            return m.expand(channel_shuffle(F.hardswish(m.depthwise(x)), 3).relu())
        return m.expand(m.depthwise(F.avg_pool2d(channel_shuffle(x, 3), 3, 1, 1)))

    model = Model(made, forward, seed)
    x, other = normal(seed, 2, 6, h, w), normal(seed, 1, 6, w + 1, h)
    free = dense_before or dense_after or groups == 1
    told = reasons(FREE, model, x)
    assert (told == [None]) == free
    graph = assert_exact(ANY, model, x, other)
    assert [node.target for node in graph.graph.nodes if node.op == "call_module"] == [
        "compress",
        "depthwise",
        "expand",
    ]
    extra = count_macs(graph.float(), (1, 6, h, w)) - count_macs(model.float(), (1, 6, h, w))
    [site] = ANY.find(traced(model.double(), normal(seed, 1, 6, h, w)))
    assert site.detail.endswith(f"made dense: {extra:+,} MACs" if extra else ("compress", "expand"))
    assert (extra == 0) == free


def test_the_cheaper_neighbor_is_made_dense() -> None:
    """At stride 2 the convolution after works on a quarter of the pixels."""
    made = layers(
        before=nn.Conv2d(5, 12, 1), middle=nn.Conv2d(12, 12, 1, groups=3), after=nn.Conv2d(12, 12, 1, groups=3)
    )
    model = Model(made, lambda m, x: m.after(m.depthwise(channel_shuffle(m.middle(m.before(x)), 3))))
    [site] = ANY.find(traced(model, normal(1, 1, 5, 8, 8)))
    assert site.detail == f"into the columns of after, made dense: +{4 * 4 * 12 * 8:,} MACs"
    [reason] = reasons(FREE, model, normal(1, 1, 5, 8, 8))
    assert reason == "only a dense convolution can take it; `densify: true` makes after one (+1,536 MACs)"


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: channel_shuffle(torch.cat([x, x, x], 1), 3), "no convolution is beside it"),
        (lambda m, x: channel_shuffle(y := m.first(x), 3) + y, "no convolution is beside it"),
        (lambda m, x: m.last(y := channel_shuffle(m.first(x) * 2, 3)).mean() + y, "no convolution is beside it"),
        (lambda m, x: channel_shuffle(m.bn(m.first(x)), 3), "no convolution is beside it"),
        (lambda m, x: channel_shuffle(m.first(x).softmax(1), 3).flatten(1), "no convolution is beside it"),
        (lambda m, x: channel_shuffle(m.first(x), 3) + m.first(x.relu()), "no convolution is beside it"),
    ],
)
def test_shuffles_without_a_neighbor_stay(forward: Forward, reason: str) -> None:
    assert_refused_for_a_reason(ANY, Model(layers(), forward), X, reason)


def test_permuting_rows_that_others_see_too_would_be_wrong() -> None:
    model = Model(layers(), lambda m, x: channel_shuffle(y := m.first(x), 3) + y)
    wrong = Model(layers(), lambda m, x: 2 * m.first(x))
    with torch.no_grad():
        order = torch.arange(12).view(3, -1).t().reshape(-1)
        wrong.first.weight.copy_(model.first.weight[order])
        wrong.first.bias.copy_(model.first.bias[order])
        assert relative_error(model(X), wrong(X)) > 1e-3


def test_rows_of_a_grouped_convolution_cannot_change_places() -> None:
    """What `densify: false` refuses: the permuted rows would take the inputs of other groups."""
    model = Model(layers(), lambda m, x: channel_shuffle(m.grouped(torch.cat([x, 2 * x, x + 1], 1)), 3))
    assert_exact(ANY, model, X)
    wrong = Model(layers(), lambda m, x: m.grouped(torch.cat([x, 2 * x, x + 1], 1)))
    with torch.no_grad():
        order = torch.arange(12).view(3, -1).t().reshape(-1)
        wrong.grouped.weight.copy_(wrong.grouped.weight[order])
        wrong.grouped.bias.copy_(wrong.grouped.bias[order])
        assert relative_error(model(X), wrong(X)) > 1e-3
