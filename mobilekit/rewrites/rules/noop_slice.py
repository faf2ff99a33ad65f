"""The ghost module's slice removed where it keeps everything."""

from __future__ import annotations

import operator
from typing import Any

from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of, shape_of


class NoopSlice(Rewrite[Options]):
    """Exact where the slice keeps all channels: `x[:, :n]` of n channels. An odd n makes it a real cut."""

    name = "noop-slice"
    exactness = Exactness.EXACT_WHEN
    summary = "Slices of channels that keep all of them"

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the slices of tensors."""
        return [Site(node.name, path_of(node)) for node in graph.graph.nodes if _is_slice(node)]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse a slice that cuts, or one along another axis than the channels."""
        node = node_named(graph, site.node)
        shape = shape_of(input_node(node))
        assert shape is not None
        if len(node.all_input_nodes) > 1:
            return "its bounds are computed when the model runs"
        index: tuple[Any, ...] = node.args[1]  # type: ignore[assignment]
        for axis, part in enumerate(index):
            if part == slice(None):
                continue
            if axis != 1 or not isinstance(part, slice):
                return "it selects along another axis than the channels"
            kept = len(range(*part.indices(shape[1])))
            if kept != shape[1] or part.step not in (None, 1):
                return f"it keeps {kept} of {shape[1]} channels"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Let the slice's input stand for it."""
        node = node_named(graph, site.node)
        node.replace_all_uses_with(input_node(node))
        graph.graph.erase_node(node)


def _is_slice(node: Node) -> bool:
    if node.op != "call_function" or node.target is not operator.getitem:
        return False
    source, index = node.args
    return (
        isinstance(source, Node)
        and shape_of(source) is not None
        and isinstance(index, tuple)
        and any(isinstance(part, slice) for part in index)
        and not any(isinstance(part, Node) for part in index)
    )
