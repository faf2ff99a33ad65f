"""A rewrite of one's own: a ReLU of values that cannot be negative goes."""

from torch import nn
from torch.fx import GraphModule

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import input_node, module_of, node_named

NEVER_NEGATIVE = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid)


class DropSecondReLU(Rewrite[Options]):
    """Exact where the layer before gives no negative value."""

    name = "drop-second-relu"
    exactness = Exactness.EXACT_WHEN
    summary = "ReLU after a layer whose values cannot be negative: dropped"

    def find(self, graph: GraphModule) -> list[Site]:
        """Return every ReLU that follows another layer."""
        return [
            Site(node.name, str(node.target))
            for node in graph.graph.nodes
            if isinstance(module_of(graph, node), nn.ReLU) and input_node(node).op == "call_module"
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse a ReLU that has work to do."""
        before = module_of(graph, input_node(node_named(graph, site.node)))
        if not isinstance(before, NEVER_NEGATIVE):
            return f"{type(before).__name__} before it may give negative values"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Let whatever used the ReLU use its input."""
        node = node_named(graph, site.node)
        node.replace_all_uses_with(input_node(node))
        graph.graph.erase_node(node)
