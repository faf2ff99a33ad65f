"""An average pool as the depthwise convolution that it is."""

from __future__ import annotations

import math

from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of, shape_of
from mobilekit.rewrites.fx.ops import AVERAGE_POOL, arguments, is_call, pair, replace_by_module
from mobilekit.rewrites.shared.pools import averaging, uneven


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
        shape = shape_of(input_node(node))
        if shape is None or len(shape) != 4:
            return "its input is not (N, C, H, W)"
        return uneven(arguments(graph, node))

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
