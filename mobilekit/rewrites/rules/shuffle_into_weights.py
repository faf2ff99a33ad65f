"""The channel shuffle taken into the weights of a 1x1 convolution beside it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field
from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import calls_of, input_node, module_of, node_named, path_of, shape_of
from mobilekit.rewrites.fx.ops import (
    ADAPTIVE_AVERAGE_POOL,
    AVERAGE_POOL,
    CLAMP,
    DROPOUT,
    GELU,
    HARD_SIGMOID,
    HARD_SWISH,
    INTERPOLATE,
    MAX_POOL,
    RELU,
    SIGMOID,
    SILU,
    is_call,
    value_users,
)
from mobilekit.rewrites.shared.convolutions import dense_macs, dense_weight, is_depthwise, permute_kernels, with_weights
from mobilekit.rewrites.shared.shuffles import shuffle_at

# What treats every channel alike, so that it may come before a permutation of the channels or after it.
_ALIKE = (
    ADAPTIVE_AVERAGE_POOL,
    AVERAGE_POOL,
    CLAMP,
    DROPOUT,
    GELU,
    HARD_SIGMOID,
    HARD_SWISH,
    INTERPOLATE,
    MAX_POOL,
    RELU,
    SIGMOID,
    SILU,
)


class ShuffleIntoWeightsOptions(Options):
    """Parameters of `shuffle-into-weights`."""

    densify: bool = Field(
        False, description="Where no dense convolution is beside a shuffle, make the cheaper grouped one dense."
    )


@dataclass(frozen=True)
class _Side:
    """A convolution that can take a shuffle, with what lies between the two."""

    conv: Node
    depthwise: tuple[Node, ...]
    """Depthwise convolutions between, whose kernels change places."""
    is_before: bool
    macs: int
    """Multiply-accumulates that making it dense adds."""


class ShuffleIntoWeights(Rewrite[ShuffleIntoWeightsOptions]):
    """Exact: rows of a convolution's weights are its output channels, columns its inputs; either may change places.

    Only in a dense convolution does that leave a convolution: a grouped one has to be made dense, at g times its
    multiply-accumulates. Activations, pools and depthwise convolutions between it and the shuffle do not mind.
    """

    name = "shuffle-into-weights"
    exactness = Exactness.EXACT_WHEN
    summary = "Channel shuffle into the weights of a dense 1x1 convolution before or after it"
    options_type = ShuffleIntoWeightsOptions

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the shuffles."""
        return [
            Site(node.name, path_of(node), _detail(_cheapest(graph, node)))
            for node in graph.graph.nodes
            if shuffle_at(graph, node)
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse where no convolution is beside the shuffle, or only grouped ones and the recipe wants these kept."""
        side = _cheapest(graph, node_named(graph, site.node))
        if side is None:
            return "no convolution is beside it that only it feeds, or that feeds only it"
        if side.macs and not self.options.densify:
            cost = f"{side.macs:+,} MACs"
            return f"only a dense convolution can take it; `densify: true` makes {side.conv.target} one ({cost})"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Permute the weights, and let the shuffle's input stand for it."""
        node = node_named(graph, site.node)
        side, shuffle, shape = _cheapest(graph, node), shuffle_at(graph, node), shape_of(node)
        assert side is not None
        assert shuffle is not None
        assert shape is not None
        order = shuffle.order(shape[1])
        outputs = order if side.is_before else order.argsort()
        for step in side.depthwise:
            permute_kernels(graph, step, outputs)
        conv = module_of(graph, side.conv)
        assert isinstance(conv, nn.Conv2d)
        weight = dense_weight(conv)
        if side.is_before:
            new = with_weights(conv, weight[outputs], 1, None if conv.bias is None else conv.bias[outputs])
        else:
            new = with_weights(conv, weight[:, outputs], 1)
        graph.set_submodule(str(side.conv.target), new)
        node.replace_all_uses_with(shuffle.source)
        graph.graph.eliminate_dead_code()


def _detail(side: _Side | None) -> str:
    if side is None:
        return ""
    what = f"into the {'rows' if side.is_before else 'columns'} of {side.conv.target}"
    return f"{what}, made dense: {side.macs:+,} MACs" if side.macs else what


def _cheapest(graph: GraphModule, node: Node) -> _Side | None:
    """Return the convolution that takes the shuffle at the least cost."""
    shuffle = shuffle_at(graph, node)
    if shuffle is None:
        return None
    sides = [_side(graph, shuffle.source, True), _side(graph, node, False)]
    return min((side for side in sides if side), key=lambda side: side.macs, default=None)


def _side(graph: GraphModule, node: Node, is_before: bool) -> _Side | None:
    """Return the convolution before `node`, itself included, or after it; None where the way is barred."""
    depthwise: list[Node] = []
    while True:
        users = value_users(graph, node)
        if len(users) != 1 or node.op == "placeholder":
            return None
        if not is_before:
            node = users[0]
        conv = module_of(graph, node)
        if isinstance(conv, nn.Conv2d):
            if calls_of(graph, str(node.target)) > 1:
                return None
            if not is_depthwise(conv):
                return _Side(node, tuple(depthwise), is_before, dense_macs(node, conv))
            depthwise.append(node)
        elif not is_call(graph, node, *_ALIKE):
            return None
        if is_before:
            node = input_node(node)
