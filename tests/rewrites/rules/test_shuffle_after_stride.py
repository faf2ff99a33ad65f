"""The channel shuffle behind a strided depthwise convolution."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mobilekit.models.families.shufflenet import channel_shuffle
from mobilekit.rewrites.base import Options
from mobilekit.rewrites.fx.graph import module_of, shape_of
from mobilekit.rewrites.rules.shuffle_after_stride import ShuffleAfterStride
from mobilekit.rewrites.shared.shuffles import ChannelShuffle
from tests.rewriting import (
    Forward,
    Layers,
    Model,
    assert_exact,
    calls,
    normal,
    quick,
    reasons,
    seeds,
    sizes,
)

BEHIND = ShuffleAfterStride(Options())
X = normal(0, 2, 12, 8, 8)


def layers(stride: int = 2) -> Layers:
    return {
        "before": nn.Conv2d(12, 12, 1, groups=3),
        "depthwise": nn.Conv2d(12, 12, 3, stride, 1, groups=12),
        "after": nn.Conv2d(12, 6, 1, groups=3),
        "bn": nn.BatchNorm2d(12),
    }


def unit(m: Model, x: torch.Tensor) -> torch.Tensor:
    return m.after(m.depthwise(channel_shuffle(m.before(x), 3)))


@quick
@given(st.integers(1, 4), st.integers(1, 5), st.sampled_from([1, 3, 5]), st.booleans(), sizes, sizes, seeds)
def test_groups_kernels_and_sizes(groups: int, each: int, kernel: int, bias: bool, h: int, w: int, seed: int) -> None:
    channels = groups * each
    made = {"depthwise": nn.Conv2d(channels, channels, kernel, 2, kernel // 2, groups=channels, bias=bias)}
    model = Model(made, lambda m, x: m.depthwise(channel_shuffle(x, groups)) * 2, seed)
    graph = assert_exact(BEHIND, model, normal(seed, 2, channels, h, w), normal(seed, 1, channels, w + 1, h))
    if channels > 1:  # else it is no depthwise convolution, and no shuffle
        [moved] = calls(graph, ChannelShuffle)
        assert isinstance(module_of(graph, moved.all_input_nodes[0]), nn.Conv2d)


def test_the_shuffle_is_on_the_smaller_map() -> None:
    graph = assert_exact(BEHIND, Model(layers(), unit), X)
    [moved] = calls(graph, ChannelShuffle)
    assert shape_of(moved) == (2, 12, 4, 4)
    assert [str(node.target) for node in calls(graph, nn.Conv2d)] == ["before", "depthwise", "after"]


def test_without_a_stride_there_is_no_site() -> None:
    assert reasons(BEHIND, Model(layers(stride=1), unit), X) == []


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: m.depthwise(y := channel_shuffle(x, 3)).mean() + y, "others take the shuffled map too"),
        (lambda m, x: m.depthwise(channel_shuffle(m.depthwise(x), 3)), "depthwise is called more than once"),
        (lambda m, x: m.bn(m.depthwise(channel_shuffle(x, 3))), "the batch norm behind the convolution"),
        (lambda m, x: m.depthwise(channel_shuffle(x, 3)).relu(), "the activation behind the convolution"),
    ],
)
def test_what_stays_before_the_convolution(forward: Forward, reason: str) -> None:
    [told] = reasons(BEHIND, Model(layers(), forward), X)
    assert told is not None
    assert told.startswith(reason)


def test_with_its_kernels_in_place_it_would_be_wrong() -> None:
    model = Model(layers(), unit)
    wrong = Model(layers(), lambda m, x: m.after(channel_shuffle(m.depthwise(m.before(x)), 3)))
    with torch.no_grad():
        assert (model(X) - wrong(X)).norm() / model(X).norm() > 1e-3
