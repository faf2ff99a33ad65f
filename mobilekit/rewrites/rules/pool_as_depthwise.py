"""An average pool as the depthwise convolution that it is."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of, shape_of
from mobilekit.rewrites.fx.ops import AVERAGE_POOL, arguments, is_call, pair, replace_by_module


class PoolAsDepthwise(Rewrite[Options]):
    """Exact: a mean of k x k values is a depthwise convolution whose weights are all 1 / k^2.

    Zeros of a padding count in both. XNNPACK averages in float only, so that in an int8 file each pool would end a
    partition; and 1 / k^2 in each channel's own scale is an int8 weight without an error.
    """

    name = "pool-as-depthwise"
    exactness = Exactness.EXACT_WHEN
    summary = "Average pools as depthwise convolutions, for which XNNPACK has int8 kernels"

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the average pools; a global one is a mean, which is as good."""
        return [
            Site(node.name, path_of(node), f"{_macs(graph, node):+,} MACs")
            for node in graph.graph.nodes
            if is_call(graph, node, AVERAGE_POOL)
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse windows whose means are not all of equally many values."""
        node = node_named(graph, site.node)
        given, shape = arguments(graph, node), shape_of(input_node(node))
        if shape is None or len(shape) != 4:
            return "its input is not (N, C, H, W)"
        if given["ceil_mode"]:
            return "its last windows reach past the input, and are means of fewer values"
        if any(pair(given["padding"])) and not given["count_include_pad"] and given["divisor_override"] is None:
            return "its windows at the border leave the padding out, and are means of fewer values"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Put a depthwise convolution there."""
        node = node_named(graph, site.node)
        shape = shape_of(input_node(node))
        assert shape is not None
        replace_by_module(graph, node, averaging(shape[1], arguments(graph, node)), input_node(node))


def _macs(graph: GraphModule, node: Node) -> int:
    """Return the multiply-accumulates of the convolution, for the recipe's input; a pool only adds."""
    shape = shape_of(node)
    assert shape is not None
    return math.prod(shape) * math.prod(pair(arguments(graph, node)["kernel_size"]))


def averaging(channels: int, pool: dict[str, Any]) -> nn.Conv2d:
    """Return the depthwise convolution, in float64, that an average pool with these arguments is."""
    kernel = pair(pool["kernel_size"])
    stride = kernel if pool["stride"] in (None, []) else pair(pool["stride"])
    conv = nn.Conv2d(channels, channels, kernel, stride, pair(pool["padding"]), groups=channels, bias=False)
    weight = torch.full(conv.weight.shape, 1 / (pool["divisor_override"] or kernel[0] * kernel[1]), dtype=torch.float64)
    conv.weight = nn.Parameter(weight)
    return conv
