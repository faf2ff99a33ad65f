"""A ReLU after a concatenation as ReLUs of its parts."""

from __future__ import annotations

import torch
from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import input_node, module_of, node_named, path_of
from mobilekit.rewrites.fx.ops import CONCATENATE, RELU, concatenated, insert_call, is_call, value_users
from mobilekit.rewrites.fx.sign import is_nonnegative

_FUSES = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class ReLUIntoConcat(Rewrite[Options]):
    """Exact: a ReLU works on each value by itself, before or after a concatenation.

    The ReLU of a part that is a layer's output costs nothing in TFLite, and a part that is never negative needs none;
    the one after a concatenation is an op of its own, which XNNPACK's int8 leaves.
    """

    name = "relu-into-concat"
    exactness = Exactness.EXACT_WHEN
    summary = "ReLU after a concatenation into the layers that make its parts"

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the ReLUs of a concatenation."""
        return [
            Site(node.name, path_of(node), _detail(graph, input_node(node)))
            for node in graph.graph.nodes
            if is_call(graph, node, RELU) and is_call(graph, input_node(node), CONCATENATE)
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse a concatenation that others see, and one of which no part gets rid of the ReLU."""
        node = node_named(graph, site.node)
        joined = input_node(node)
        if len(value_users(graph, joined)) > 1:
            return "the concatenation is used without the ReLU too"
        costs = [part for part in concatenated(joined) if not is_nonnegative(graph, part) and not _fuses(graph, part)]
        if costs:
            return f"the ReLU of its part {costs[0].name} would be an op of its own"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Put a ReLU before each part that may be negative, and take the one after away."""
        node = node_named(graph, site.node)
        joined = input_node(node)
        new = []
        for part in concatenated(joined):
            if not is_nonnegative(graph, part):
                clipped = insert_call(joined, torch.ops.aten.relu.default, part)
                clipped.meta = dict(part.meta)
                part = clipped
            new.append(part)
        joined.args = (new, *joined.args[1:])
        node.replace_all_uses_with(joined)
        graph.graph.erase_node(node)


def _fuses(graph: GraphModule, part: Node) -> bool:
    """Return whether a ReLU of this part is done by the layer that makes it."""
    return isinstance(module_of(graph, part), _FUSES) and len(value_users(graph, part)) == 1


def _detail(graph: GraphModule, joined: Node) -> str:
    parts = concatenated(joined)
    free = sum(is_nonnegative(graph, part) for part in parts)
    return f"{free} of {len(parts)} parts are never negative"
