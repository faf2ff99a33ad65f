"""Grouped convolutions as dense ones, and back."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mobilekit.models.analysis.macs import count_macs
from mobilekit.rewrites.rules.dense_grouped import DenseGrouped, DenseGroupedOptions
from tests.rewriting import (
    Model,
    assert_exact,
    normal,
    quick,
    reasons,
    seeds,
    sizes,
    traced,
)

DENSE = DenseGrouped(DenseGroupedOptions())
GROUPED = DenseGrouped(DenseGroupedOptions(to="grouped"))


@quick
@given(
    st.integers(2, 4), st.integers(2, 3), st.integers(1, 3), st.sampled_from([1, 3]), st.integers(1, 2),
    st.booleans(), st.sampled_from(["zeros", "circular"]), sizes, sizes, seeds,
)  # fmt: skip
def test_grouped_convolutions_become_dense_and_grouped_again(
    groups: int, inner: int, outer: int, kernel: int, stride: int, bias: bool, mode: str, h: int, w: int, seed: int
) -> None:
    conv = nn.Conv2d(
        groups * inner, groups * outer, kernel, stride, kernel // 2, groups=groups, bias=bias, padding_mode=mode
    )
    model = Model({"conv": conv, "depthwise": nn.Conv2d(groups * outer, groups * outer, 1, groups=groups * outer)},
                  lambda m, x: m.depthwise(m.conv(x)), seed)  # fmt: skip
    x, other = normal(seed, 2, groups * inner, h, w), normal(seed, 1, groups * inner, w + 1, h)
    dense = assert_exact(DENSE, model, x, other)
    assert dense.get_submodule("conv").weight.shape == (groups * outer, groups * inner, kernel, kernel)
    back = assert_exact(GROUPED, dense, x, other)
    assert back.get_submodule("conv").groups == groups
    assert torch.equal(back.get_submodule("conv").weight, model.conv.weight)
    [site] = DENSE.find(traced(model, x[:1]))
    extra = count_macs(dense.float(), x[:1].shape) - count_macs(model.float(), x[:1].shape)
    assert site.detail == f"{extra:+,} MACs"


def test_only_blocks_of_zeros_make_groups() -> None:
    model = Model({"conv": nn.Conv2d(4, 6, 1)}, lambda m, x: m.conv(x))
    x = normal(0, 1, 4, 3, 3)
    assert reasons(GROUPED, model, x) == []
    with torch.no_grad():
        model.conv.weight[:3, 2:] = 0
        assert reasons(GROUPED, model, x) == []
        model.conv.weight[3:, :2] = 0
    assert reasons(GROUPED, model, x) == [None]
    assert_exact(GROUPED, model, x)
    with torch.no_grad():
        model.conv.weight[5, 0] = 1e-9
    assert reasons(GROUPED, model, x) == []


def test_a_grouped_convolution_that_is_called_twice_becomes_one_dense_one() -> None:
    model = Model({"conv": nn.Conv2d(4, 4, 1, groups=2)}, lambda m, x: m.conv(m.conv(x)))
    graph = assert_exact(DENSE, model, normal(0, 1, 4, 3, 3), sites=2)
    assert graph.get_submodule("conv").groups == 1
    assert_exact(GROUPED, graph, normal(0, 1, 4, 3, 3), sites=2)


def test_sites_can_be_named() -> None:
    made = {"a": nn.Conv2d(4, 4, 1, groups=2), "b": nn.Conv2d(4, 4, 1, groups=2)}
    model: Any = Model(made, lambda m, x: m.b(m.a(x)))
    only = DenseGrouped(DenseGroupedOptions(sites=("b",)))
    assert reasons(only, model, normal(0, 1, 4, 3, 3)) == ["the recipe's sites (b) do not name it", None]
