"""The channel shuffle in other forms and in weights, and grouped convolutions as dense ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.models.families.shufflenet import channel_shuffle
from mobilekit.models.macs import count_macs
from mobilekit.rewrites.proof import relative_error
from mobilekit.rewrites.rules.channel_shuffle import ChannelShuffleForm, ChannelShuffleOptions
from mobilekit.rewrites.rules.dense_grouped import DenseGrouped, DenseGroupedOptions
from mobilekit.rewrites.rules.shuffle_into_weights import ShuffleIntoWeights, ShuffleIntoWeightsOptions
from mobilekit.rewrites.shared.shuffles import ChannelShuffle
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
    sizes,
    traced,
)

FORM = ChannelShuffleForm(ChannelShuffleOptions())
GATHER = ChannelShuffleForm(ChannelShuffleOptions(form="gather"))
FREE = ShuffleIntoWeights(ShuffleIntoWeightsOptions())
ANY = ShuffleIntoWeights(ShuffleIntoWeightsOptions(densify=True))
DENSE = DenseGrouped(DenseGroupedOptions())
GROUPED = DenseGrouped(DenseGroupedOptions(to="grouped"))


def permuted(x: torch.Tensor, axes: tuple[int, ...], rank: int = 5) -> torch.Tensor:
    n, c, h, w = x.shape
    split = x.reshape(n, 3, c // 3, h, w) if rank == 5 else x.reshape(n, 3, c // 3, h * w)
    return split.permute(axes).reshape(n, c, h, w)


SHUFFLES: dict[str, Forward] = {
    "the model's own": lambda m, x: channel_shuffle(x, 3),
    "nn.ChannelShuffle": lambda m, x: m.shuffle(x),
    "F.channel_shuffle": lambda m, x: F.channel_shuffle(x, 3),
    "contiguous": lambda m, x: (
        x.view(x.size(0), 3, -1, x.size(2), x.size(3))
        .transpose(1, 2)
        .contiguous()
        .view(x.size(0), -1, x.size(2), x.size(3))
    ),
    "torch.transpose": lambda m, x: torch.transpose(torch.reshape(x, (2, 3, 4, 5, 6)), -4, -3).flatten(1, 2),
    "permute": lambda m, x: permuted(x, (0, 2, 1, 3, 4)),
    "rank 4": lambda m, x: permuted(x, (0, 2, 1, 3), rank=4),
    "flatten and unflatten": lambda m, x: torch.flatten(x.unflatten(1, (3, -1)).swapaxes(1, 2), 1, 2),
}


def layers(**others: nn.Module) -> Layers:
    return {
        "first": nn.Conv2d(5, 12, 1),
        "grouped": nn.Conv2d(5 * 3, 12, 1, groups=3),
        "depthwise": nn.Conv2d(12, 12, 3, 2, 1, groups=12),
        "last": nn.Conv2d(12, 6, 1, groups=3),
        "dense": nn.Conv2d(12, 6, 3, padding=1, padding_mode="reflect"),
        "shuffle": nn.ChannelShuffle(3),
        "bn": nn.BatchNorm2d(12),
        **others,
    }


X = normal(1, 2, 5, 5, 6)


@pytest.mark.parametrize("form", SHUFFLES)
@pytest.mark.parametrize("action", [FORM, GATHER], ids=["transpose", "gather"])
def test_each_shuffle_is_found(action: ChannelShuffleForm, form: str) -> None:
    model = Model(layers(), lambda m, x: m.last(SHUFFLES[form](m, m.first(x))))
    graph = assert_exact(action, model, X)
    [module] = [graph.get_submodule(str(node.target)) for node in calls(graph, ChannelShuffle)]
    assert module.groups == 3
    assert action.find(graph) == []
    other = rewritten(GATHER if action is FORM else FORM, graph, X)
    [back] = [other.get_submodule(str(node.target)) for node in calls(other, ChannelShuffle)]
    y = normal(3, 2, 12, 6, 5)
    assert torch.equal(module(y), back(y)), "and back"


@quick
@given(st.integers(1, 5), st.integers(1, 5), sizes, sizes, st.sampled_from([FORM, GATHER]), seeds)
def test_shuffles_of_all_sizes(groups: int, each: int, h: int, w: int, action: ChannelShuffleForm, seed: int) -> None:
    model = Model({}, lambda m, x: channel_shuffle(x, groups) * 2, seed)
    x, other = normal(seed, 2, groups * each, h, w), normal(seed, 1, groups * each, w, h + 1)
    assert_exact(action, model, x, other)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: permuted(m.first(x), (0, 2, 1, 4, 3)),
        lambda m, x: m.first(x).reshape(2, 12, 5, 6).transpose(2, 3).reshape(2, 12, 5, 6),
        lambda m, x: m.first(x).reshape(2, 3, 4, 5, 6).transpose(1, 3).reshape(2, 12, 5, 6),
        lambda m, x: m.first(x).reshape(2, 3, 4, 5, 6).transpose(1, 2).reshape(2, 4, 3, 5, 6),
        lambda m, x: m.first(x).reshape(2, 3, 4, 5, 6).transpose(1, 2).reshape(2, 6, 10, 6),
        lambda m, x: m.first(x).reshape(1, 6, 4, 5, 6).transpose(1, 2).reshape(2, 12, 5, 6),
        lambda m, x: m.first(x).reshape(2, 3, 2, 10, 6).transpose(1, 2).reshape(2, 12, 5, 6),
    ],
)
def test_other_transpositions_are_not_shuffles(forward: Forward) -> None:
    assert reasons(FORM, Model(layers(), forward), X) == []


# -- into weights ------------------------------------------------------------------------------------------------------


@quick
@given(
    st.sampled_from([1, 2, 3]), st.booleans(), st.booleans(), st.sampled_from([1, 3]), st.integers(1, 2),
    st.booleans(), st.booleans(), sizes, sizes, seeds,
)  # fmt: skip
def test_a_shuffle_goes_into_either_neighbour(
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


def test_the_cheaper_neighbour_is_made_dense() -> None:
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
def test_shuffles_without_a_neighbour_stay(forward: Forward, reason: str) -> None:
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


# -- grouped and dense -------------------------------------------------------------------------------------------------


@quick
@given(
    st.integers(2, 4), st.integers(2, 3), st.integers(1, 3), st.sampled_from([1, 3]), st.integers(1, 2),
    st.booleans(), st.sampled_from(["zeros", "circular"]), sizes, sizes, seeds,
)  # fmt: skip
def test_grouped_convolutions_become_dense_and_grouped_again(
    groups: int, inner: int, outer: int, kernel: int, stride: int, bias: bool, mode: str, h: int, w: int, seed: int
) -> None:
    conv = nn.Conv2d(
        groups * inner, groups * outer, kernel, stride, kernel // 2, groups=groups, bias=bias, padding_mode=mode
    )
    model = Model({"conv": conv, "depthwise": nn.Conv2d(groups * outer, groups * outer, 1, groups=groups * outer)},
                  lambda m, x: m.depthwise(m.conv(x)), seed)  # fmt: skip
    x, other = normal(seed, 2, groups * inner, h, w), normal(seed, 1, groups * inner, w + 1, h)
    dense = assert_exact(DENSE, model, x, other)
    assert dense.get_submodule("conv").weight.shape == (groups * outer, groups * inner, kernel, kernel)
    back = assert_exact(GROUPED, dense, x, other)
    assert back.get_submodule("conv").groups == groups
    assert torch.equal(back.get_submodule("conv").weight, model.conv.weight)
    [site] = DENSE.find(traced(model, x[:1]))
    extra = count_macs(dense.float(), x[:1].shape) - count_macs(model.float(), x[:1].shape)
    assert site.detail == f"{extra:+,} MACs"


def test_only_blocks_of_zeros_make_groups() -> None:
    model = Model({"conv": nn.Conv2d(4, 6, 1)}, lambda m, x: m.conv(x))
    x = normal(0, 1, 4, 3, 3)
    assert reasons(GROUPED, model, x) == []
    with torch.no_grad():
        model.conv.weight[:3, 2:] = 0
        assert reasons(GROUPED, model, x) == []
        model.conv.weight[3:, :2] = 0
    assert reasons(GROUPED, model, x) == [None]
    assert_exact(GROUPED, model, x)
    with torch.no_grad():
        model.conv.weight[5, 0] = 1e-9
    assert reasons(GROUPED, model, x) == []


def test_a_grouped_convolution_that_is_called_twice_becomes_one_dense_one() -> None:
    model = Model({"conv": nn.Conv2d(4, 4, 1, groups=2)}, lambda m, x: m.conv(m.conv(x)))
    graph = assert_exact(DENSE, model, normal(0, 1, 4, 3, 3), sites=2)
    assert graph.get_submodule("conv").groups == 1
    assert_exact(GROUPED, graph, normal(0, 1, 4, 3, 3), sites=2)


def test_sites_can_be_named() -> None:
    made = {"a": nn.Conv2d(4, 4, 1, groups=2), "b": nn.Conv2d(4, 4, 1, groups=2)}
    model: Any = Model(made, lambda m, x: m.b(m.a(x)))
    only = DenseGrouped(DenseGroupedOptions(sites=("b",)))
    assert reasons(only, model, normal(0, 1, 4, 3, 3)) == ["the recipe's sites (b) do not name it", None]
