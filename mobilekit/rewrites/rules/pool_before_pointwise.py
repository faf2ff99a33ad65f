"""Average pool before a 1x1 convolution instead of after it."""

from __future__ import annotations

import math

from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import calls_of, input_node, module_of, node_named, path_of, shape_of
from mobilekit.rewrites.fx.ops import ADAPTIVE_AVERAGE_POOL, AVERAGE_POOL, arguments, is_call, pair, value_users


class PoolBeforePointwise(Rewrite[Options]):
    """Exact: a mean over space and a mixture of channels are linear in different axes, and commute.

    The convolution then works on the smaller map. Its bias passes through a mean whose weights sum to 1; they do not
    where zeros of a padding are counted. A max pool does not commute.
    """

    name = "pool-before-pointwise"
    exactness = Exactness.EXACT_WHEN
    summary = "Average pool before a 1x1 convolution instead of after it"
    experimental = (
        "No site in the models that come with mobilekit; right wherever an average pool follows a 1x1 "
        "convolution, which then works on the smaller map."
    )

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the average pools after a 1x1 convolution."""
        return [
            Site(node.name, path_of(node), _detail(graph, node))
            for node in graph.graph.nodes
            if is_call(graph, node, AVERAGE_POOL, ADAPTIVE_AVERAGE_POOL) and _pointwise(graph, input_node(node))
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse a convolution that others see, one whose bias the pool changes, and a pool that enlarges."""
        node = node_named(graph, site.node)
        source = input_node(node)
        conv = _pointwise(graph, source)
        assert conv is not None
        if len(value_users(graph, source)) > 1:
            return f"the output of {source.target} is used elsewhere too"
        if calls_of(graph, str(source.target)) > 1:
            return f"{source.target} is called more than once"
        if conv.bias is not None and not _keeps_constants(graph, node):
            return f"the pool does not keep constants, and {source.target} has a bias"
        if _saved(graph, node) <= 0:
            return "the pooled map is no smaller"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Swap the two."""
        pool = node_named(graph, site.node)
        conv = input_node(pool)
        x = input_node(conv)
        pool.replace_all_uses_with(conv)
        pool.replace_input_with(conv, x)
        conv.replace_input_with(x, pool)
        conv.prepend(pool)


def _pointwise(graph: GraphModule, node: Node) -> nn.Conv2d | None:
    conv = module_of(graph, node)
    if not isinstance(conv, nn.Conv2d) or conv.kernel_size != (1, 1) or conv.stride != (1, 1):
        return None
    return conv if conv.padding in ((0, 0), "valid", "same") else None


def _keeps_constants(graph: GraphModule, node: Node) -> bool:
    """Return whether a pool gives the mean of each window's own pixels."""
    given = arguments(graph, node)
    if is_call(graph, node, ADAPTIVE_AVERAGE_POOL):
        return True
    counts_padding = any(pair(given["padding"])) and given["count_include_pad"]
    return not counts_padding and given["divisor_override"] is None


def _saved(graph: GraphModule, node: Node) -> int:
    """Return how many multiply-accumulates of the convolution the swap saves, for the recipe's input."""
    large, small, conv = shape_of(input_node(node)), shape_of(node), _pointwise(graph, input_node(node))
    assert large is not None
    assert small is not None
    assert conv is not None
    return (math.prod(large[2:]) - math.prod(small[2:])) * conv.weight.numel()


def _detail(graph: GraphModule, node: Node) -> str:
    return f"{-_saved(graph, node):+,} MACs"
