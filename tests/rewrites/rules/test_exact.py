"""Each exact rewrite on random small models in float64: the function stays, the graph changes, and refusals are right.

A refusal is right if it says why, and if doing it all the same gives another function or none.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.models.dfc import Axis, FullyConnected, SharedFullyConnected
from mobilekit.rewrites.base import Options
from mobilekit.rewrites.fx.graph import node_named
from mobilekit.rewrites.proof import relative_error
from mobilekit.rewrites.rules.dfc_shared import DFCShared
from mobilekit.rewrites.rules.fold_batch_norm import FoldBatchNorm
from mobilekit.rewrites.rules.gate_before_upsample import GateBeforeUpsample
from mobilekit.rewrites.rules.noop_slice import NoopSlice
from tests.rewriting import (
    Layers,
    Model,
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

FOLD, GATE, SLICE, SHARED = (kind(Options()) for kind in (FoldBatchNorm, GateBeforeUpsample, NoopSlice, DFCShared))


# -- fold-batch-norm ---------------------------------------------------------------------------------------------------


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
        (bn_layers(pool=nn.AvgPool2d(2)), lambda m, x: m.bn(m.pool(m.conv(x))), "what comes before is AvgPool2d"),
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


# -- gate-before-upsample ----------------------------------------------------------------------------------------------

GATES: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "nn.Sigmoid": lambda m, x: m.sigmoid(x),
    "torch.sigmoid": lambda m, x: torch.sigmoid(x),
    "torch.sigmoid by name": lambda m, x: torch.sigmoid(input=x),
    "F.sigmoid": lambda m, x: F.sigmoid(x),
    "method": lambda m, x: x.sigmoid(),
    "nn.Hardsigmoid": lambda m, x: m.hardsigmoid(x),
    "F.hardsigmoid": lambda m, x: F.hardsigmoid(x),
}
UPSAMPLES: dict[str, Callable[[Any, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "size": lambda m, small, x: F.interpolate(small, size=(x.shape[2], x.shape[3])),
    "scale": lambda m, small, x: F.interpolate(small, scale_factor=2, mode="nearest"),
    "positional": lambda m, small, x: F.interpolate(small, None, 2, "nearest"),
    "by name": lambda m, small, x: F.interpolate(input=small, size=x.shape[2:], mode="nearest-exact"),
    "nn.Upsample": lambda m, small, x: m.up(small),
    "nn.Upsample size": lambda m, small, x: m.up_to(small),
}


def gate_layers() -> Layers:
    return {
        "conv": nn.Conv2d(3, 2, 3, 2, 1),
        "sigmoid": nn.Sigmoid(),
        "hardsigmoid": nn.Hardsigmoid(),
        "up": nn.Upsample(scale_factor=2),
        "up_to": nn.Upsample(size=(7, 11)),
        "bilinear": nn.UpsamplingBilinear2d(scale_factor=2),
        "inplace": nn.Hardsigmoid(inplace=True),
    }


@pytest.mark.parametrize("upsample", UPSAMPLES)
@pytest.mark.parametrize("gate", GATES)
def test_moving_a_gate_keeps_every_bit(gate: str, upsample: str) -> None:
    model = Model(gate_layers(), lambda m, x: GATES[gate](m, UPSAMPLES[upsample](m, m.conv(x), x)) * 2)
    inputs = [normal(seed, 2, 3, *size) for seed, size in enumerate([(6, 6), (7, 9), (5, 8), (1, 1)])]
    assert reasons(GATE, model, inputs[0]) == [None]
    graph = rewritten(GATE, model, inputs[0])
    for x in inputs:
        with torch.no_grad():
            assert torch.equal(model(x), graph(x))
    [site] = GATE.find(graph)  # the gate is still there, and now the upsample takes its result
    moved = node_named(graph, site.node)
    assert str(moved.args[0] if moved.args else moved.kwargs["input"]) == "conv"
    [user] = moved.users
    assert "up" in user.name or "interpolate" in user.name
    assert reasons(GATE, graph, inputs[0]) == ["the gate is on the small map already"]


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: m.sigmoid(F.interpolate(m.conv(x), scale_factor=2, mode="bilinear")), "the upsample is bilinear"),
        (lambda m, x: m.sigmoid(m.bilinear(m.conv(x))), "the upsample is bilinear"),
        (lambda m, x: F.interpolate(m.conv(x), None, 2, "bicubic").sigmoid(), "the upsample is bicubic"),
        (lambda m, x: (y := m.up(m.conv(x))) + m.sigmoid(y), "used elsewhere too"),
        (lambda m, x: m.inplace(m.up(y := m.conv(x))).mean() + y, "would overwrite the small map"),
        (lambda m, x: F.hardsigmoid(m.up(y := m.conv(x)), inplace=True).mean() + y, "would overwrite the small map"),
        (lambda m, x: m.up(m.sigmoid(m.conv(x))), "on the small map already"),
    ],
)
def test_gates_that_must_stay_are_refused(forward: Callable[[Any, torch.Tensor], torch.Tensor], reason: str) -> None:
    assert_refused_for_a_reason(GATE, Model(gate_layers(), forward), normal(3, 1, 3, 8, 8), reason)


def test_a_positional_mode_is_read() -> None:
    """Tracing names every argument of F.interpolate; a graph that was made otherwise may not."""
    model = Model(gate_layers(), lambda m, x: F.interpolate(m.conv(x), scale_factor=2).sigmoid())
    graph = traced(model, normal(3, 1, 3, 8, 8))
    [upsample] = [node for node in graph.graph.nodes if node.target is F.interpolate]
    for mode, refused in (("nearest", False), ("bilinear", True)):
        upsample.args, upsample.kwargs = (upsample.args[0], None, 2, mode), {}
        [site] = GATE.find(graph)
        assert (GATE.why_not(graph, site) is not None) == refused


def test_a_gate_without_an_upsample_is_not_this_rewrites_business() -> None:
    assert reasons(GATE, Model(gate_layers(), lambda m, x: m.sigmoid(m.conv(x))), normal(3, 1, 3, 8, 8)) == []


# -- noop-slice --------------------------------------------------------------------------------------------------------


@quick
@given(st.integers(2, 7), st.integers(-8, 9), sizes, seeds)
def test_only_slices_that_keep_all_channels_go(c: int, stop: int, size: int, seed: int) -> None:
    model = Model({"conv": nn.Conv2d(2, c, 1)}, lambda m, x: m.conv(x)[:, :stop].sum(1) + 1, seed)
    x = normal(seed, 1, 2, size, size)
    [reason] = reasons(SLICE, model, x)
    kept = len(range(c)[:stop])
    assert (reason is None) == (kept == c)
    graph = rewritten(SLICE, model, x)
    assert not any(node.target is operator.getitem for node in graph.graph.nodes)
    if reason is None:
        assert_kept(model, graph, x)
    else:
        assert reason == f"it keeps {kept} of {c} channels"
        assert relative_error(model(x), graph(x)) > 1e-6


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ((slice(None), slice(None, 2)), "it keeps 2 of 3 channels"),
        ((slice(None), slice(1, None)), "it keeps 2 of 3 channels"),
        ((slice(None), slice(None, None, 2)), "it keeps 2 of 3 channels"),
        ((slice(None), slice(None), slice(None), slice(None, 4)), "another axis than the channels"),
        ((slice(None), slice(None), slice(2, None)), "another axis than the channels"),
        ((slice(None, 1), slice(None, 3)), "another axis than the channels"),
        ((slice(None), 0, slice(None)), "another axis than the channels"),
        ((..., slice(None, 3)), "another axis than the channels"),
    ],
)
def test_slices_that_cut_are_refused(index: Any, reason: str) -> None:
    model = Model({"conv": nn.Conv2d(2, 3, 1)}, lambda m, x: m.conv(x)[index])
    assert_refused_for_a_reason(SLICE, model, normal(4, 2, 2, 6, 6), reason)


def test_a_slice_whose_bounds_the_model_computes_is_refused() -> None:
    model = Model({"conv": nn.Conv2d(2, 3, 1)}, lambda m, x: m.conv(x)[:, : x.shape[1]])
    assert_refused_for_a_reason(SLICE, model, normal(4, 1, 2, 6, 6), "computed when the model runs")


# -- dfc-shared --------------------------------------------------------------------------------------------------------


@quick
@given(
    st.integers(1, 4),
    st.sampled_from([1, 3, 5, 7, 9]),
    st.permutations(["horizontal", "vertical"]),
    sizes,
    sizes,
    seeds,
)
def test_shared_maps_become_convolutions(
    c: int, kernel: int, axes: list[Axis], height: int, width: int, seed: int
) -> None:
    layers: Layers = {axis: SharedFullyConnected(c, kernel, axis) for axis in axes}
    layers["bn"] = nn.BatchNorm2d(c)
    model = Model(layers, lambda m, x: getattr(m, axes[1])(m.bn(getattr(m, axes[0])(x))), seed)
    x = normal(seed, 2, c, height, width)
    assert reasons(SHARED, model, x) == [None, None]
    graph = rewritten(SHARED, model, x)
    assert_kept(model, graph, x, normal(seed, 1, c, 1, 2), normal(seed, 1, c, 13, 4))
    assert calls(graph, FullyConnected) == []
    shapes = {
        str(node.target): tuple(graph.get_parameter(f"{node.target}.weight").shape) for node in calls(graph, nn.Conv2d)
    }
    assert shapes == {"horizontal": (c, 1, 1, kernel), "vertical": (c, 1, kernel, 1)}


def test_a_map_that_is_called_twice_becomes_one_convolution() -> None:
    model = Model({"fc": SharedFullyConnected(3, 3, "vertical")}, lambda m, x: m.fc(m.fc(x)))
    x = normal(0, 1, 3, 6, 6)
    graph = rewritten(SHARED, model, x)
    assert_kept(model, graph, x)
    assert len(calls(graph, nn.Conv2d)) == 2
