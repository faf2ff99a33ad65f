"""Max pools are padded with the values at their edge."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.artifacts.tflite import kinds, unpack
from mobilekit.rewrites.base import Options
from mobilekit.rewrites.rules.max_pool_padding import MaxPoolPadding
from tests.converting import Converted
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
)

PADDING = MaxPoolPadding(Options())
SAME = "TFLite's SAME pads as it does, with nothing"
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
    st.booleans(), sizes, sizes, seeds,
)  # fmt: skip
def test_padding_changes_no_maximum(
    k: int, kw: int, s: int, sw: int, p: int, pw: int, ceil_mode: bool, h: int, w: int, seed: int
) -> None:
    p, pw = min(p, k // 2), min(pw, kw // 2)
    pool = nn.MaxPool2d((k, kw), (s, sw), (p, pw), ceil_mode=ceil_mode)
    model = Model(layers(pool=pool), lambda m, x: m.pool(m.conv(x) - 4), seed)
    x, other = normal(seed, 2, 3, h, w), normal(seed, 1, 3, w + 1, h)
    if reasons(PADDING, model, x) == [None]:
        graph = rewritten(PADDING, model, x)
        with torch.no_grad():
            assert torch.equal(model(x), graph(x))
            assert torch.equal(model(other), rewritten(PADDING, model, other)(other))
    else:
        assert not (p or pw or ceil_mode) or reasons(PADDING, model, x) == [SAME]


FORMS: dict[str, Forward] = {
    "F.max_pool2d": lambda m, x: F.max_pool2d(F.relu(m.conv(x)), 3, 2, 1),
    "no stride": lambda m, x: F.max_pool2d(F.relu(m.conv(x)), (3, 4), padding=1),
    "pool of a pool": lambda m, x: m.max(m.pool(m.relu(m.wide(x)))),
    "negative": lambda m, x: m.max(x - 3),
    "one part negative": lambda m, x: m.max(torch.cat([m.relu(x), x - 3], 1)),
    "ceil mode": lambda m, x: F.max_pool2d(x - 3, 3, 2, ceil_mode=True),
    "ceil mode, padded": lambda m, x: F.max_pool2d(m.relu(x), 3, 2, 1, ceil_mode=True),
    "ceil mode, past nothing": lambda m, x: F.max_pool2d(x - 3, (2, 1), (2, 1), ceil_mode=True),
    "a stride wider than the window": lambda m, x: F.max_pool2d(x - 3, 2, 3, ceil_mode=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_a_padded_pool_is_seen(form: str) -> None:
    assert_exact(PADDING, Model(layers(), FORMS[form]), X, normal(2, 1, 3, 10, 12))


def test_windows_with_gaps_are_refused() -> None:
    model = Model(layers(), lambda m, x: F.max_pool2d(m.relu(x) - 3, 3, 2, 1, dilation=2))
    assert_refused_for_a_reason(PADDING, model, X, "have gaps")


@pytest.mark.parametrize(
    ("size", "pool", "reason"),
    [
        ((8, 8), nn.MaxPool2d(3, 1, 1), SAME),
        ((7, 7), nn.MaxPool2d(3, 2, 1), SAME),
        ((8, 8), nn.MaxPool2d(3, 2, 1), None),
        ((7, 7), nn.MaxPool2d(2, 2, ceil_mode=True), None),
    ],
)
def test_a_padding_that_tflite_has_is_left_to_it(size: tuple[int, int], pool: nn.Module, reason: str | None) -> None:
    assert reasons(PADDING, Model(layers(pool=pool), lambda m, x: m.pool(x - 3)), normal(1, 1, 3, *size)) == [reason]


@pytest.mark.slow
def test_int8_files_of_padded_pools_open_and_are_near(tmp_path: Path) -> None:
    """In ceil mode and after a PReLU; 8 bits lose .02 of such a net without pools as well."""
    torch.manual_seed(0)
    pools = [nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2, 2, ceil_mode=True)]
    between = [each for pool in pools for each in (nn.Conv2d(4, 4, 1), nn.PReLU(4), pool)]
    model = nn.Sequential(nn.Conv2d(3, 4, 3), *between, nn.Flatten()).eval()
    graph = rewritten(PADDING, model, torch.zeros(1, 3, 30, 30))
    converted = Converted(graph, (3, 30, 30), tmp_path)
    assert converted.error(converted.float32) < 1e-6
    assert converted.error(converted.int8()) < 0.05
    operators = unpack(converted.float32.read_bytes())
    assert "PADV2" not in kinds(operators)


def test_a_pool_whose_positions_are_used_is_no_site() -> None:
    model = Model(layers(), lambda m, x: m.positions(m.relu(x))[1].to(x.dtype))
    assert reasons(PADDING, model, X) == []
