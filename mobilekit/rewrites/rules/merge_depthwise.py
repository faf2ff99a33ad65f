"""A 1xK and a Kx1 depthwise convolution in a row as one KxK convolution."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node
from torch.nn import functional as F

from mobilekit.rewrites.base import Exactness, Site
from mobilekit.rewrites.fx.graph import calls_of, input_node, module_of, node_named
from mobilekit.rewrites.fx.lowered import Lowered
from mobilekit.rewrites.fx.ops import add_module, pair, replace_by_module, value_users
from mobilekit.rewrites.shared.convolutions import is_depthwise, macs_of
from mobilekit.rewrites.sites import SiteOptions, SiteRewrite


class MergeDepthwise(SiteRewrite[SiteOptions]):
    """Exact: two kernels, one across the other, are one of their products, in one pass over the map.

    The first one's bias reaches the border as well: the second convolution takes zeros from beyond it, not the bias. So
    it becomes a constant to be added, which is another for rows (or columns) at the border. The products are K^2
    multiply-accumulates in place of 2 K.
    """

    name = "merge-depthwise"
    exactness = Exactness.EXACT_WHEN
    summary = "A 1xK and a Kx1 depthwise convolution in a row, as DFC attention has them, as one KxK convolution"
    experimental = (
        "On x86 not faster in GhostNetV2: K^2 multiply-accumulates for 2 K in one pass over the map in place of "
        "two; right where `mobilekit tune` measures it faster."
    )
    options_type = SiteOptions

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the second convolution of each such pair."""
        sites = []
        for node in graph.graph.nodes:
            found = _pair(graph, node)
            if found:
                first, second = found
                more = macs_of(node, second) * (first.weight[0].numel() - 1) - macs_of(input_node(node), first)
                sites.append(Site(node.name, str(node.target), f"{more:+,} MACs"))
        return sites

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse where something else needs the map between, or one of the two."""
        node = node_named(graph, site.node)
        between = input_node(node)
        if len(value_users(graph, between)) != 1:
            return "others take the map between the two"
        for each in (between, node):
            if calls_of(graph, str(each.target)) > 1:
                return f"{each.target} is called more than once"
        return super().why_not(graph, site)

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Put the product of the two there, and what the first one's bias comes to."""
        node = node_named(graph, site.node)
        found = _pair(graph, node)
        assert found is not None
        first, second = found
        source = input_node(input_node(node))
        if first.bias is None:
            replace_by_module(graph, node, _merged(first, second, second.bias), source)
            return
        conv = add_module(graph, node, _merged(first, second, None), source)
        replace_by_module(graph, node, BorderedBias(first.bias, second), conv)


def _pair(graph: GraphModule, node: Node) -> tuple[nn.Conv2d, nn.Conv2d] | None:
    """Return a depthwise convolution along one axis and the one along the other whose result it takes."""
    second = module_of(graph, node)
    first = module_of(graph, input_node(node)) if isinstance(second, nn.Conv2d) else None
    if not isinstance(first, nn.Conv2d) or not isinstance(second, nn.Conv2d):
        return None
    return (first, second) if {_axis(first), _axis(second)} == {0, 1} else None


def _axis(conv: nn.Conv2d) -> int | None:
    """Return the one axis, 0 for rows, along which a depthwise convolution has taps, and zeros beyond the border."""
    slides = conv.stride == (1, 1) and conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    if not (is_depthwise(conv) and slides) or isinstance(conv.padding, str):
        return None
    for axis, other in ((0, 1), (1, 0)):
        if conv.kernel_size[axis] > 1 and conv.kernel_size[other] == 1 and conv.padding[other] == 0:
            return axis
    return None


def _merged(first: nn.Conv2d, second: nn.Conv2d, bias: torch.Tensor | None) -> nn.Conv2d:
    """Return the convolution with the products of both ones' weights."""
    size, padding = _larger(first.kernel_size, second.kernel_size), _larger(first.padding, second.padding)
    channels, dtype = first.in_channels, first.weight.dtype
    merged = nn.Conv2d(channels, channels, size, padding=padding, groups=channels, bias=False, dtype=dtype)
    merged.weight = nn.Parameter((first.weight * second.weight).detach())
    merged.bias = None if bias is None else nn.Parameter(bias.detach())
    return merged


def _larger(one: Any, other: Any) -> tuple[int, int]:
    """Return what the convolution with taps along each axis has; the other one has a kernel of 1 and no padding."""
    return max(pair(one)[0], pair(other)[0]), max(pair(one)[1], pair(other)[1])


class BorderedBias(Lowered):
    """Adds to (N, C, H, W) what a bias (C) before a depthwise convolution along one axis comes to behind it."""

    def __init__(self, before: torch.Tensor, conv: nn.Conv2d) -> None:
        super().__init__()
        self.before = nn.Parameter(before.detach())
        self.weight = conv.weight
        self.bias = conv.bias
        self.padding = pair(conv.padding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sum; what is added is the same along the other axis."""
        shape = [1, x.shape[1], 1, 1]
        for axis, kernel, padding in zip((2, 3), self.weight.shape[2:], self.padding, strict=True):
            if kernel > 1:
                shape[axis] = x.shape[axis] + kernel - 1 - 2 * padding
        before = self.before.reshape(1, -1, 1, 1).expand(shape)
        added = F.conv2d(before, self.weight, self.bias, padding=self.padding, groups=x.shape[1])
        return (x.permute(0, 2, 3, 1) + added.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # in TFLite's order of axes
