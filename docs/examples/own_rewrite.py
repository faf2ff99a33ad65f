"""A rewrite of one's own: a ReLU of values that cannot be negative goes."""

from torch.fx import GraphModule

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of
from mobilekit.rewrites.fx.ops import RELU, is_call
from mobilekit.rewrites.fx.sign import is_nonnegative


class DropSecondReLU(Rewrite[Options]):
    """Exact where the graph shows that no value before it is negative."""

    name = "drop-second-relu"
    exactness = Exactness.EXACT_WHEN
    summary = "ReLU of values that cannot be negative: dropped"
    graph = "aten"

    def find(self, graph: GraphModule) -> list[Site]:
        """Return every ReLU, however the model calls it."""
        return [Site(node.name, path_of(node)) for node in graph.graph.nodes if is_call(graph, node, RELU)]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse a ReLU that has work to do."""
        before = input_node(node_named(graph, site.node))
        return None if is_nonnegative(graph, before) else f"what {before.name} gives may be negative"

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Let whatever used the ReLU use its input."""
        node = node_named(graph, site.node)
        node.replace_all_uses_with(input_node(node))
        graph.graph.erase_node(node)
