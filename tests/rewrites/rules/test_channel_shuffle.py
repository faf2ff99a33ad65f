"""The channel shuffle is found in each way to write it, and takes its other forms."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.models.families.shufflenet import channel_shuffle
from mobilekit.rewrites.rules.channel_shuffle import ChannelShuffleForm, ChannelShuffleOptions
from mobilekit.rewrites.shared.shuffles import ChannelShuffle
from tests.axes import most_axes_of
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
)

FORM = ChannelShuffleForm(ChannelShuffleOptions())
GATHER = ChannelShuffleForm(ChannelShuffleOptions(form="gather"))


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
        "last": nn.Conv2d(12, 6, 1, groups=3),
        "shuffle": nn.ChannelShuffle(3),
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
    assert most_axes_of(graph, X) == 4
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
