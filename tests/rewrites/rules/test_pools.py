"""Pools: before a 1x1 convolution, padded with zeros, and by another rule; upsampling by another mode."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.models.macs import count_macs
from mobilekit.rewrites.base import Exactness, Options
from mobilekit.rewrites.proof import relative_error
from mobilekit.rewrites.rules.max_pool_padding import MaxPoolPadding
from mobilekit.rewrites.rules.pool_before_pointwise import PoolBeforePointwise
from mobilekit.rewrites.rules.pool_mode import PoolMode, PoolModeOptions
from mobilekit.rewrites.rules.upsample_mode import UpsampleMode, UpsampleModeOptions
from tests.rewriting import (
    Forward,
    Layers,
    Model,
    assert_exact,
    assert_refused_for_a_reason,
    normal,
    quick,
    reasons,
    rewritten,
    seeds,
    sizes,
    traced,
)

ORDER, PADDING = PoolBeforePointwise(Options()), MaxPoolPadding(Options())
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
        "max": nn.MaxPool2d(3, 2, 1),
        "positions": nn.MaxPool2d(3, 2, 1, return_indices=True),
        "relu": nn.ReLU(),
        **others,
    }


# -- pool-before-pointwise ---------------------------------------------------------------------------------------------


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


# -- max-pool-padding --------------------------------------------------------------------------------------------------


@quick
@given(
    st.integers(2, 4), st.integers(2, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(0, 2),
    sizes, sizes, seeds,
)  # fmt: skip
def test_zeros_pad_what_is_never_negative(
    k: int, kw: int, s: int, sw: int, p: int, pw: int, h: int, w: int, seed: int
) -> None:
    p, pw = min(p, k // 2), min(pw, kw // 2)
    pool = nn.MaxPool2d((k, kw), (s, sw), (p, pw))
    model = Model(layers(pool=pool), lambda m, x: m.pool(m.conv(x).relu()), seed)
    x, other = normal(seed, 2, 3, h, w), normal(seed, 1, 3, w + 1, h)
    if p or pw:
        graph = assert_exact(PADDING, model, x, other)
        with torch.no_grad():
            assert torch.equal(model(x), graph(x))
    else:
        assert reasons(PADDING, model, x) == []


NEVER_NEGATIVE: dict[str, Forward] = {
    "F.max_pool2d": lambda m, x: F.max_pool2d(F.relu(m.conv(x)), 3, 2, 1),
    "no stride": lambda m, x: F.max_pool2d(F.relu(m.conv(x)), 3, padding=1),
    "pool of a pool": lambda m, x: m.max(m.pool(m.relu(m.wide(x)))),
    "concatenated": lambda m, x: m.max(torch.cat([m.relu(x), x.sigmoid()], 1)),
}


@pytest.mark.parametrize("form", NEVER_NEGATIVE)
def test_each_input_that_is_never_negative_is_seen(form: str) -> None:
    assert_exact(PADDING, Model(layers(), NEVER_NEGATIVE[form]), X, normal(2, 1, 3, 9, 10))


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: m.max(x - 3), "its input may be negative"),
        (lambda m, x: m.max(torch.cat([m.relu(x), x - 3], 1)), "its input may be negative"),
        (lambda m, x: F.max_pool2d(m.relu(x), 3, 2, 1, ceil_mode=True), "reach past the padding"),
        (lambda m, x: F.max_pool2d(m.relu(x), 3, 2, 1, dilation=2), "have gaps"),
        (lambda m, x: m.positions(m.relu(x))[1], "positions are used"),
    ],
)
def test_other_max_pools_are_refused(forward: Forward, reason: str) -> None:
    assert_refused_for_a_reason(PADDING, Model(layers(), forward), X, reason)


# -- modes -------------------------------------------------------------------------------------------------------------

TO_NEAREST = UpsampleMode(UpsampleModeOptions())
TO_BILINEAR = UpsampleMode(UpsampleModeOptions(to="bilinear"))
TO_AVERAGE = PoolMode(PoolModeOptions())
TO_MAX = PoolMode(PoolModeOptions(to="max"))

UPSAMPLES: dict[str, tuple[Forward, Forward]] = {
    "scale": (
        lambda m, x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        lambda m, x: F.interpolate(x, scale_factor=2),
    ),
    "size": (
        lambda m, x: F.interpolate(F.avg_pool2d(x, 2), x.shape[2:], mode="bilinear", align_corners=False),
        lambda m, x: F.interpolate(F.avg_pool2d(x, 2), x.shape[2:], mode="nearest"),
    ),
    "module": (lambda m, x: m.bilinear(x), lambda m, x: m.nearest(x)),
}
CHOICES: Layers = {"bilinear": nn.UpsamplingBilinear2d(scale_factor=2), "nearest": nn.Upsample(scale_factor=2)}


@pytest.mark.parametrize("form", UPSAMPLES)
def test_upsampling_modes_change_places(form: str) -> None:
    bilinear, nearest = (Model(dict(CHOICES), forward) for forward in UPSAMPLES[form])
    assert UpsampleMode.exactness is Exactness.APPROXIMATE
    with torch.no_grad():
        assert torch.equal(rewritten(TO_NEAREST, bilinear, X)(X), nearest(X))
        made = rewritten(TO_BILINEAR, nearest, X)(X)
        if form != "module":  # whose corners are aligned
            assert torch.equal(made, bilinear(X))
        assert relative_error(bilinear(X), nearest(X)) > 0.01
    assert reasons(TO_NEAREST, nearest, X) == reasons(TO_BILINEAR, bilinear, X) == []


def test_upsampling_along_one_axis_is_refused() -> None:
    model = Model({}, lambda m, x: F.interpolate(x.flatten(2), scale_factor=2))
    assert_refused_for_a_reason(TO_BILINEAR, model, X, "is not (N, C, H, W)")


POOLS: dict[str, tuple[Forward, Forward]] = {
    "functions": (
        lambda m, x: F.max_pool2d(x, 3, 2, 1),
        lambda m, x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    ),
    "modules": (lambda m, x: m.max(x), lambda m, x: m.average(x)),
}


@pytest.mark.parametrize("form", POOLS)
def test_pools_change_places(form: str) -> None:
    made: Layers = {"max": nn.MaxPool2d(2), "average": nn.AvgPool2d(2)}
    maximum, average = (Model(dict(made), forward) for forward in POOLS[form])
    assert PoolMode.exactness is Exactness.NEEDS_RETRAINING
    with torch.no_grad():
        assert torch.equal(rewritten(TO_AVERAGE, maximum, X)(X), average(X))
        assert torch.equal(rewritten(TO_MAX, average, X)(X), maximum(X))
        assert relative_error(maximum(X), average(X)) > 0.1
    assert reasons(TO_AVERAGE, average, X) == reasons(TO_MAX, maximum, X) == []


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: F.max_pool2d(x, 2, dilation=2), "its windows have gaps"),
        (lambda m, x: m.positions(x)[1], "the positions of its maxima are used"),
    ],
)
def test_max_pools_that_no_average_can_follow_are_refused(forward: Forward, reason: str) -> None:
    assert_refused_for_a_reason(TO_AVERAGE, Model(layers(), forward), X, reason)


def test_modes_of_named_sites_only() -> None:
    action = PoolMode(PoolModeOptions(sites=("other",)))
    assert reasons(action, Model(layers(), lambda m, x: m.max(x)), X) == ["the recipe's sites (other) do not name it"]
