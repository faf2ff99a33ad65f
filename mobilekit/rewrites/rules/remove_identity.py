"""Steps that do nothing in evaluation, removed."""

from __future__ import annotations

from torch.fx import GraphModule

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of
from mobilekit.rewrites.fx.ops import DROPOUT, arguments, is_call


class RemoveIdentity(Rewrite[Options]):
    """Exact: an identity gives what it takes, and so does a dropout in evaluation.

    A converter drops them too; here they stand between layers that other rewrites look at together.
    """

    name = "remove-identity"
    exactness = Exactness.EXACT_WHEN
    summary = "Identity and dropout layers removed"

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the identities and dropouts."""
        return [Site(node.name, path_of(node)) for node in graph.graph.nodes if is_call(graph, node, DROPOUT)]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse a dropout that the model asks for in evaluation too."""
        node = node_named(graph, site.node)
        if node.op == "call_function" and arguments(graph, node)["train"]:
            return "it drops values in evaluation too"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Let its input stand for it."""
        node = node_named(graph, site.node)
        node.replace_all_uses_with(input_node(node))
        graph.graph.erase_node(node)
