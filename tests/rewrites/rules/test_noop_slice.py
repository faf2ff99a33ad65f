"""Slices that keep all channels go, and no others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mobilekit.rewrites.base import Options
from mobilekit.rewrites.proof import relative_error
from mobilekit.rewrites.rules.noop_slice import NoopSlice
from tests.rewriting import (
    Model,
    assert_exact,
    assert_kept,
    assert_refused_for_a_reason,
    normal,
    quick,
    reasons,
    rewritten,
    seeds,
    sizes,
)

SLICE = NoopSlice(Options())


@quick
@given(st.integers(2, 7), st.integers(-8, 9), sizes, seeds)
def test_only_slices_that_keep_all_channels_go(c: int, stop: int, size: int, seed: int) -> None:
    model = Model({"conv": nn.Conv2d(2, c, 1)}, lambda m, x: m.conv(x)[:, :stop].sum(1) + 1, seed)
    x = normal(seed, 1, 2, size, size)
    [reason] = reasons(SLICE, model, x)
    kept = len(range(c)[:stop])
    assert (reason is None) == (kept == c)
    graph = rewritten(SLICE, model, x)
    assert not any(node.target is torch.ops.aten.slice.Tensor for node in graph.graph.nodes)
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
        ((slice(None), slice(None), slice(None), slice(None, 4)), "it keeps 4 of 6 along axis 3"),
        ((slice(None), slice(None), slice(2, None)), "it keeps 4 of 6 along axis 2"),
        (slice(None, 1), "it cuts the batch"),
        ((..., slice(None, 3)), "it keeps 3 of 6 along axis 3"),
    ],
)
def test_slices_that_cut_are_refused(index: Any, reason: str) -> None:
    model = Model({"conv": nn.Conv2d(2, 3, 1)}, lambda m, x: m.conv(x)[index])
    assert_refused_for_a_reason(SLICE, model, normal(4, 2, 2, 6, 6), reason)


@pytest.mark.parametrize("index", [(slice(None), 0, slice(None)), (slice(None), slice(None), 0)])
def test_the_colons_of_an_index_are_no_slices(index: Any) -> None:
    model = Model({"conv": nn.Conv2d(2, 3, 1)}, lambda m, x: m.conv(x)[index])
    assert reasons(SLICE, model, normal(4, 2, 2, 6, 6)) == []


def test_a_slice_of_all_images_goes_and_one_of_a_batch_of_one_stays() -> None:
    whole = Model({"conv": nn.Conv2d(2, 3, 1)}, lambda m, x: m.conv(x)[:, :3] + x.mean((1, 2, 3), keepdim=True)[:])
    assert_exact(SLICE, whole, normal(4, 1, 2, 6, 6), normal(5, 2, 2, 6, 6), sites=2)
    first = Model({"conv": nn.Conv2d(2, 3, 1)}, lambda m, x: m.conv(x) + m.conv(x)[:1])
    assert reasons(SLICE, first, normal(4, 1, 2, 6, 6)) == ["it cuts the batch"]


def test_a_slice_whose_bounds_the_model_computes_is_refused() -> None:
    """Times zero: a model whose images depend on how many there are is traced for one."""
    model = Model({"conv": nn.Conv2d(2, 3, 1)}, lambda m, x: m.conv(x) + 0 * m.conv(x)[:, : x.shape[0]].sum(1, True))
    assert reasons(SLICE, model, normal(4, 1, 2, 6, 6)) == ["its bounds are computed when the model runs"]
