"""Average pools as depthwise convolutions."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.rewrites.base import Options
from mobilekit.rewrites.rules.pool_as_depthwise import PoolAsDepthwise
from tests.rewriting import (
    Forward,
    Model,
    assert_exact,
    assert_refused_for_a_reason,
    calls,
    normal,
    quick,
    reasons,
    seeds,
    sizes,
)

POOL = PoolAsDepthwise(Options())
X = normal(1, 2, 3, 8, 7)
OTHER = normal(2, 1, 3, 9, 10)


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


def test_a_pool_in_modules_that_hold_nothing_else_finds_a_place() -> None:
    """Of a graph's modules those stay that have weights: the pool's own path leads through some that are gone."""
    inner = nn.Sequential(OrderedDict(shortcut=nn.Sequential(OrderedDict(pool=nn.AvgPool2d(2)))))
    graph = assert_exact(POOL, Model({"block": inner}, lambda m, x: m.block(x)), X)
    [conv] = calls(graph, nn.Conv2d)
    assert conv.target == "block.shortcut.pool"
