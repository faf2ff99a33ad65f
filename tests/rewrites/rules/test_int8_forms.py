"""Forms for which XNNPACK has int8 kernels: pools as convolutions, ReLUs in the layers before; and explicit padding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.rewrites.base import Options
from mobilekit.rewrites.rules.explicit_padding import ExplicitPadding
from mobilekit.rewrites.rules.pool_as_depthwise import PoolAsDepthwise
from mobilekit.rewrites.rules.relu_into_concat import ReLUIntoConcat
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

POOL, CONCAT, PADDING = PoolAsDepthwise(Options()), ReLUIntoConcat(Options()), ExplicitPadding(Options())
X, OTHER = normal(1, 2, 3, 8, 7), normal(2, 1, 3, 9, 10)


# -- pool-as-depthwise -------------------------------------------------------------------------------------------------


@quick
@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1), st.booleans(),
    st.sampled_from([None, 3]), sizes, sizes, seeds,
)  # fmt: skip
def test_an_average_pool_is_a_depthwise_convolution(
    kernel: int, width: int, stride: int, padding: int, counts: bool, divisor: int | None, h: int, w: int, seed: int
) -> None:
    """Allowed exactly where every window has the same weights; oracle: how many zeros a map of ones meets."""
    assume(padding <= min(kernel, width) // 2)
    pool = nn.AvgPool2d((kernel, width), stride, padding, False, counts, divisor)
    model = Model({"pool": pool}, lambda m, x: m.pool(x), seed)
    x, other = normal(seed, 2, 3, h, w), normal(seed, 1, 3, w + 1, h)
    if padding and not counts and divisor is None:
        assert reasons(POOL, model, x) != [None]
    else:
        graph = assert_exact(POOL, model, x, other)
        [conv] = calls(graph, nn.Conv2d)
        assert graph.get_submodule(str(conv.target)).groups == 3


POOLS: dict[str, Forward] = {
    "nn.AvgPool2d": lambda m, x: m.pool(x),
    "F.avg_pool2d": lambda m, x: F.avg_pool2d(x, 2),
    "by name": lambda m, x: F.avg_pool2d(input=x, kernel_size=(2, 3), stride=1),
    "counted padding": lambda m, x: F.avg_pool2d(x, 3, 2, 1),
    "own divisor": lambda m, x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False, divisor_override=5),
}


@pytest.mark.parametrize("form", POOLS)
def test_each_average_pool_becomes_one(form: str) -> None:
    graph = assert_exact(POOL, Model({"pool": nn.AvgPool2d(2)}, POOLS[form]), X, OTHER)
    assert len(calls(graph, nn.Conv2d)) == 1


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), "leave the padding out"),
        (lambda m, x: F.avg_pool2d(x, 3, 2, ceil_mode=True), "reach past the input"),
        (lambda m, x: F.avg_pool2d(x[0], 2), "is not (N, C, H, W)"),
    ],
)
def test_pools_of_other_means_are_refused(forward: Forward, reason: str) -> None:
    assert_refused_for_a_reason(POOL, Model({}, forward), X, reason)


def test_a_global_pool_is_not_its_business() -> None:
    assert reasons(POOL, Model({}, lambda m, x: F.adaptive_avg_pool2d(x, 1)), X) == []


# -- relu-into-concat --------------------------------------------------------------------------------------------------

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
    assert sum(node.target is F.relu for node in graph.graph.nodes) == 1


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


def test_parts_that_the_graph_does_not_list_are_refused() -> None:
    model = Model(LAYERS, lambda m, x: F.relu(torch.cat(x.split(1, 1), 1)))
    assert_refused_for_a_reason(CONCAT, model, X, "are not listed")


# -- explicit-padding --------------------------------------------------------------------------------------------------


def tensorflow_same(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Zeros before and after by TensorFlow's documentation of `padding="SAME"`, which has two cases.

    Source: tf.nn, "Notes on padding".
    """
    span = (kernel - 1) * dilation + 1
    total = max(span - stride if size % stride == 0 else span - size % stride, 0)
    return total // 2, total - total // 2


@quick
@given(
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2), st.integers(0, 2),
    st.booleans(), sizes, sizes, seeds,
)  # fmt: skip
def test_padding_becomes_a_step_where_same_differs(
    kernel: int, width: int, stride: int, dilation: int, p: int, pw: int, bias: bool, h: int, w: int, seed: int
) -> None:
    conv = nn.Conv2d(3, 6, (kernel, width), stride, (p, pw), dilation, groups=3, bias=bias)
    model = Model({"conv": conv}, lambda m, x: m.conv(x), seed)
    x, other = normal(seed, 2, 3, h + 6, w + 6), normal(seed, 1, 3, w + 7, h + 6)
    same = (tensorflow_same(h + 6, kernel, stride, dilation), tensorflow_same(w + 6, width, stride, dilation))
    if not p and not pw:
        assert reasons(PADDING, model, x) == []
    elif same == ((p, p), (pw, pw)):
        assert reasons(PADDING, model, x) == ["SAME pads as it does"]
    else:
        graph = assert_exact(PADDING, model, x, other)
        assert graph.get_submodule("conv").padding == (0, 0)


@pytest.mark.parametrize(("kernel", "differs"), [(3, True), (2, True), (1, False)])
def test_a_strided_convolution_of_an_even_size(kernel: int, differs: bool) -> None:
    """What PyTorch's networks do at 224: one zero on each side, where SAME has one after alone."""
    conv = nn.Conv2d(3, 4, kernel, 2, kernel // 2)
    sites = PADDING.find(traced(Model({"conv": conv}, lambda m, x: m.conv(x)), normal(0, 1, 3, 8, 8)))
    assert [site.detail for site in sites] == (
        [f"zeros above, below, left, right: 1, 1, 1, 1; SAME has {'0, 1, 0, 1' if kernel == 3 else '0, 0, 0, 0'}"]
        if differs
        else []
    )


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_paddings_by_name(padding: str) -> None:
    """PyTorch's `same` exists for stride 1 alone, where it is TFLite's."""
    conv = nn.Conv2d(3, 4, (4, 3), padding=padding)
    told = reasons(PADDING, Model({"conv": conv}, lambda m, x: m.conv(x)), X)
    assert told == (["SAME pads as it does"] if padding == "same" else [])


def test_other_values_than_zeros_are_refused() -> None:
    conv = nn.Conv2d(3, 4, 3, 2, 1, padding_mode="reflect")
    assert_refused_for_a_reason(PADDING, Model({"conv": conv}, lambda m, x: m.conv(x)), X, "pads with reflect")


def test_a_layer_that_is_called_twice_is_refused() -> None:
    """Its padding belongs to both calls: without it the second is another function."""
    model = Model({"conv": nn.Conv2d(3, 3, 3, 2, 1)}, lambda m, x: m.conv(m.conv(x)))
    [first, second] = reasons(PADDING, model, X)
    assert first == second == "conv is called more than once"
