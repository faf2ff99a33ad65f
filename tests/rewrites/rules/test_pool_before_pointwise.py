"""An average pool moves before a 1x1 convolution exactly where the function stays."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.models.analysis.macs import count_macs
from mobilekit.rewrites.base import Options
from mobilekit.rewrites.rules.pool_before_pointwise import PoolBeforePointwise
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

ORDER = PoolBeforePointwise(Options())
X = normal(1, 2, 3, 8, 7)


def layers(**others: nn.Module) -> Layers:
    return {
        "conv": nn.Conv2d(3, 4, 1),
        "no_bias": nn.Conv2d(3, 4, 1, bias=False),
        "wide": nn.Conv2d(3, 4, 3, padding=1),
        "strided": nn.Conv2d(3, 4, 1, 2),
        "padded": nn.Conv2d(3, 4, 1, padding=1),
        "pool": nn.AvgPool2d(2),
        "globally": nn.AdaptiveAvgPool2d(1),
        **others,
    }


@quick
@given(
    st.integers(2, 4), st.integers(1, 3), st.integers(0, 1), st.booleans(), st.booleans(), st.booleans(),
    st.sampled_from([None, 3]), sizes, sizes, seeds,
)  # fmt: skip
def test_a_pool_moves_before_a_pointwise_convolution(
    kernel: int, stride: int, padding: int, ceil: bool, counts: bool, bias: bool, divisor: int | None, h: int, w: int,
    seed: int,
) -> None:  # fmt: skip
    """Allowed exactly where the pool keeps a constant map constant, or there is no bias; oracle: a map of ones."""
    pool = nn.AvgPool2d(kernel, stride, padding, ceil, counts, divisor)
    model = Model({"conv": nn.Conv2d(4, 6, 1, groups=2, bias=bias), "pool": pool}, lambda m, x: m.pool(m.conv(x)), seed)
    x, other = normal(seed, 2, 4, h, w), normal(seed, 1, 4, w + 1, h)
    pooled = pool(torch.ones(1, 1, h, w))
    [told] = reasons(ORDER, model, x)
    if pooled.numel() >= h * w:
        assert told is not None
    elif not bias or (padding == 0 and divisor is None):
        graph = assert_exact(ORDER, model, x, other)
        [site] = ORDER.find(traced(model, x[:1]))
        saved = count_macs(graph.float(), (1, 4, h, w)) - count_macs(model.float(), (1, 4, h, w))
        assert site.detail == f"{saved:+,} MACs"
    if bias and not torch.equal(pooled, torch.ones_like(pooled)):
        assert told is not None


POOLED: dict[str, Forward] = {
    "F.avg_pool2d": lambda m, x: F.avg_pool2d(m.conv(x), 2),
    "nn.AvgPool2d": lambda m, x: m.pool(m.conv(x)),
    "global": lambda m, x: m.globally(m.conv(x)).flatten(1),
    "F.adaptive_avg_pool2d": lambda m, x: F.adaptive_avg_pool2d(m.conv(x), (2, 3)),
    "uncounted padding": lambda m, x: F.avg_pool2d(m.conv(x), 3, 2, 1, count_include_pad=False),
    "no bias, counted padding": lambda m, x: F.avg_pool2d(m.no_bias(x), 3, 2, 1),
    "no bias, own divisor": lambda m, x: F.avg_pool2d(m.no_bias(x), 2, divisor_override=3),
}


@pytest.mark.parametrize("form", POOLED)
def test_each_average_pool_is_found(form: str) -> None:
    graph = assert_exact(ORDER, Model(layers(), POOLED[form]), X, normal(2, 1, 3, 9, 10))
    assert reasons(ORDER, graph, X) == []


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: F.avg_pool2d(m.conv(x), 3, 2, 1), "does not keep constants, and conv has a bias"),
        (lambda m, x: F.avg_pool2d(m.conv(x), 2, divisor_override=3), "does not keep constants, and conv has a bias"),
        (lambda m, x: m.pool(y := m.conv(x)) + y.mean(), "the output of conv is used elsewhere too"),
        (lambda m, x: m.pool(m.conv(x)) + m.conv(x[:, :, ::2, :6:2]), "conv is called more than once"),
    ],
)
def test_pools_that_must_stay_are_refused(forward: Forward, reason: str) -> None:
    """The last one, done all the same, gives the right function: there it is the shared weights that tell it apart."""
    if "more than once" in reason:
        assert reason in str(reasons(ORDER, Model(layers(), forward), X)[0])
    else:
        assert_refused_for_a_reason(ORDER, Model(layers(), forward), X, reason)


def test_a_pool_that_saves_nothing_stays() -> None:
    model = Model(layers(), lambda m, x: F.avg_pool2d(m.no_bias(x), 3, 1, 1))
    assert reasons(ORDER, model, X) == ["the pooled map is no smaller"]


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: F.max_pool2d(m.conv(x), 2),
        lambda m, x: m.pool(m.wide(x)),
        lambda m, x: m.pool(m.strided(x)),
        lambda m, x: m.pool(m.padded(x)),
        lambda m, x: m.pool(m.conv(x).relu()),
    ],
)
def test_other_pairs_do_not_commute_and_are_not_its_business(forward: Forward) -> None:
    assert reasons(ORDER, Model(layers(), forward), X) == []
