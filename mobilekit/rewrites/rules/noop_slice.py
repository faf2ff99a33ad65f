"""The ghost module's slice removed where it keeps everything."""

from __future__ import annotations

from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of, shape_of
from mobilekit.rewrites.fx.ops import SLICE, WHOLE, arguments, is_call
from mobilekit.rewrites.fx.spelling import takes_all


class NoopSlice(Rewrite[Options]):
    """Exact where the slice keeps all: `x[:, :n]` of n channels. An odd n makes it a real cut."""

    name = "noop-slice"
    exactness = Exactness.EXACT_WHEN
    summary = "Slices that keep all"

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the slices of tensors."""
        return [Site(node.name, path_of(node)) for node in graph.graph.nodes if is_call(graph, node, SLICE, WHOLE)]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse a slice that cuts."""
        node = node_named(graph, site.node)
        if is_call(graph, node, WHOLE) or takes_all(node):
            return None
        shape, given = shape_of(input_node(node)), arguments(graph, node)
        assert shape is not None
        bounds = [given["start"], given["end"], given["step"]]
        if any(isinstance(bound, Node) for bound in bounds):
            return "its bounds are computed when the model runs"
        axis = given["dim"] % len(shape)
        if axis == 0:
            return "it cuts the batch"
        kept = len(range(*slice(*bounds).indices(shape[axis])))
        of = f"{shape[axis]} channels" if axis == 1 else f"{shape[axis]} along axis {axis}"
        return None if kept == shape[axis] else f"it keeps {kept} of {of}"

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Let the slice's input stand for it."""
        node = node_named(graph, site.node)
        node.replace_all_uses_with(input_node(node))
        graph.graph.erase_node(node)
