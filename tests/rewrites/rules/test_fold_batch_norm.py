"""Batch norms fold into the layers before them, of every kind, where nothing else would notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.rewrites.base import Options
from mobilekit.rewrites.rules.fold_batch_norm import FoldBatchNorm
from tests.rewriting import (
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
)

FOLD = FoldBatchNorm(Options())


@quick
@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 2, 3, 5]), st.integers(1, 2),
    st.integers(1, 2), st.integers(0, 2), st.booleans(), st.booleans(), st.sampled_from(["zeros", "reflect"]),
    st.sampled_from([1e-5, 1e-3, 0.5]), sizes, sizes, seeds,
)  # fmt: skip
def test_folding_into_a_convolution_keeps_the_function(
    groups: int, inner: int, outer: int, kernel: int, stride: int, dilation: int, padding: int, bias: bool,
    affine: bool, mode: str, eps: float, height: int, width: int, seed: int,
) -> None:  # fmt: skip
    kernel = kernel if dilation == 1 else min(kernel, 3)
    conv = nn.Conv2d(
        groups * inner, groups * outer, kernel, stride, padding, dilation, groups, bias=bias, padding_mode=mode
    )
    layers: Layers = {"conv": conv, "bn": nn.BatchNorm2d(groups * outer, eps, affine=affine), "act": nn.ReLU()}
    model = Model(layers, lambda m, x: m.act(m.bn(m.conv(x))) - 0.5 * x.mean(), seed)
    x = normal(seed + 100, 2, groups * inner, height, width)
    assert reasons(FOLD, model, x) == [None]
    graph = rewritten(FOLD, model, x)
    assert_kept(model, graph, x, normal(seed + 101, 1, groups * inner, height + 1, width + 2))
    assert calls(graph, nn.BatchNorm2d) == []
    [folded] = calls(graph, nn.Conv2d)
    assert graph.get_submodule(str(folded.target)).bias is not None
    assert not any(module.training for module in graph.modules())


@quick
@given(st.integers(1, 5), st.integers(1, 5), st.booleans(), st.booleans(), seeds)
def test_folding_into_a_linear_layer_keeps_the_function(c: int, d: int, bias: bool, affine: bool, seed: int) -> None:
    layers: Layers = {"linear": nn.Linear(c, d, bias=bias), "bn": nn.BatchNorm1d(d, affine=affine)}
    model = Model(layers, lambda m, x: m.bn(m.linear(x.mean((2, 3)))), seed)
    x = normal(seed, 3, c, 2, 2)
    assert reasons(FOLD, model, x) == [None]
    graph = rewritten(FOLD, model, x)
    assert_kept(model, graph, x)
    assert calls(graph, nn.BatchNorm1d) == []


def test_only_the_batch_norm_after_a_convolution_is_folded() -> None:
    layers: Layers = {"conv": nn.Conv2d(3, 4, 1), "a": nn.BatchNorm2d(4), "b": nn.BatchNorm2d(4)}
    model = Model(layers, lambda m, x: m.b(input=m.a(input=m.conv(x))))
    found = reasons(FOLD, model, normal(1, 1, 3, 5, 5))
    assert found == [None, "what comes before is BatchNorm2d, not a convolution or linear layer"]


def bn_layers(**others: nn.Module) -> Layers:
    return {"conv": nn.Conv2d(3, 3, 3, padding=1), "bn": nn.BatchNorm2d(3), **others}


@pytest.mark.parametrize(
    ("layers", "forward", "reason"),
    [
        (bn_layers(bn=nn.BatchNorm2d(6)), lambda m, x: m.bn(torch.cat([m.conv(x), x], 1)), "what comes before is cat"),
        (bn_layers(), lambda m, x: m.bn(F.max_pool2d(m.conv(x), 2)), "what comes before is max_pool2d"),
        (bn_layers(pool=nn.AvgPool2d(2)), lambda m, x: m.bn(m.pool(m.conv(x))), "what comes before is avg_pool2d"),
        (bn_layers(), lambda m, x: m.bn(x), "what comes before is x, not a convolution"),
        (bn_layers(), lambda m, x: (y := m.conv(x)) + m.bn(y), "the output of conv is used elsewhere too"),
        (bn_layers(), lambda m, x: m.bn(m.conv(x)) + m.conv(x.relu()), "called more than once"),
        (bn_layers(), lambda m, x: m.bn(m.conv(m.bn(m.conv(x)))), "called more than once"),
        (bn_layers(bn=nn.BatchNorm2d(3, track_running_stats=False)), lambda m, x: m.bn(m.conv(x)), "no statistics"),
        # A batch norm after a linear layer on (N, L, C) scales L, the layer scales C: folding fits only by accident.
        ({"fc": nn.Linear(6, 3), "bn": nn.BatchNorm1d(3)}, lambda m, x: m.bn(m.fc(x[:, 0, :3])), "is not (N, C)"),
        ({"fc": nn.Linear(6, 4), "bn": nn.BatchNorm1d(3)}, lambda m, x: m.bn(m.fc(x[:, 0, :3])), "is not (N, C)"),
    ],
)  # fmt: skip
def test_unfoldable_batch_norms_are_refused(
    layers: Layers, forward: Callable[[Any, torch.Tensor], torch.Tensor], reason: str
) -> None:
    assert_refused_for_a_reason(FOLD, Model(layers, forward), normal(5, 2, 3, 6, 6), reason)


X = normal(1, 2, 3, 8, 7)


@quick
@given(
    st.sampled_from([1, 2, 3]), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.booleans(), st.booleans(),
    seeds,
)  # fmt: skip
def test_folding_into_convolutions_of_one_to_three_axes(
    axes: int, groups: int, inner: int, outer: int, bias: bool, affine: bool, seed: int
) -> None:
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[axes - 1]
    made = {
        "conv": conv(groups * inner, groups * outer, 3, padding=1, groups=groups, bias=bias),
        "bn": norm(groups * outer, affine=affine),
    }
    x = normal(seed, 2, groups * inner, *[5] * axes)
    graph = assert_exact(FOLD, Model(made, lambda m, x: m.bn(m.conv(x)), seed), x)
    assert calls(graph, norm) == []


@quick
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.booleans(), seeds)
def test_folding_into_transposed_convolutions(
    groups: int, inner: int, outer: int, stride: int, bias: bool, seed: int
) -> None:
    made = {
        "conv": nn.ConvTranspose2d(groups * inner, groups * outer, 3, stride, groups=groups, bias=bias),
        "bn": nn.BatchNorm2d(groups * outer),
    }
    x = normal(seed, 2, groups * inner, 5, 4)
    graph = assert_exact(
        FOLD, Model(made, lambda m, x: m.bn(m.conv(x)), seed), x, normal(seed, 1, groups * inner, 2, 7)
    )
    assert calls(graph, nn.BatchNorm2d) == []


def test_weights_that_another_layer_shares_are_not_folded_into_it() -> None:
    made = {"conv": nn.Conv2d(3, 3, 1), "tied": nn.Conv2d(3, 3, 1), "bn": nn.BatchNorm2d(3)}
    model = Model(made, lambda m, x: m.bn(m.conv(x)) + m.tied(x))
    model.tied.weight = model.conv.weight
    assert_exact(FOLD, model, X)
