"""Max pools of what is never negative are padded with zeros."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.rewrites.base import Options
from mobilekit.rewrites.rules.max_pool_padding import MaxPoolPadding
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
)

PADDING = MaxPoolPadding(Options())
X = normal(1, 2, 3, 8, 7)


def layers(**others: nn.Module) -> Layers:
    return {
        "conv": nn.Conv2d(3, 4, 1),
        "wide": nn.Conv2d(3, 4, 3, padding=1),
        "pool": nn.AvgPool2d(2),
        "max": nn.MaxPool2d(3, 2, 1),
        "positions": nn.MaxPool2d(3, 2, 1, return_indices=True),
        "relu": nn.ReLU(),
        **others,
    }


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
    ],
)
def test_other_max_pools_are_refused(forward: Forward, reason: str) -> None:
    assert_refused_for_a_reason(PADDING, Model(layers(), forward), X, reason)


def test_a_pool_whose_positions_are_used_is_no_site() -> None:
    model = Model(layers(), lambda m, x: m.positions(m.relu(x))[1].to(x.dtype))
    assert reasons(PADDING, model, X) == []
