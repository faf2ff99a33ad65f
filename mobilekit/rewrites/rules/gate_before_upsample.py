"""The sigmoid gate moved to the small map, before a nearest upsample."""

from __future__ import annotations

from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of
from mobilekit.rewrites.fx.ops import HARD_SIGMOID, INTERPOLATE, SIGMOID, arguments, is_call, value_users


class GateBeforeUpsample(Rewrite[Options]):
    """Exact, bit for bit: a nearest upsample only repeats values, so any function of one value may come before it.

    A quarter of the sigmoids at the usual factor of 2. Not so for a bilinear upsample, which mixes values.
    """

    name = "gate-before-upsample"
    exactness = Exactness.EXACT_WHEN
    summary = "Sigmoid or hard-sigmoid gate before a nearest upsample instead of after it"

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the gates beside an upsample, on whichever side."""
        return [
            Site(node.name, path_of(node))
            for node in graph.graph.nodes
            if _is_gate(graph, node)
            and (_upsample_mode(graph, input_node(node)) or any(_upsample_mode(graph, user) for user in node.users))
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse a bilinear upsample, one that others use, and a gate that is on the small map already."""
        node = node_named(graph, site.node)
        upsample = input_node(node)
        mode = _upsample_mode(graph, upsample)
        if mode is None:
            return "the gate is on the small map already"
        if mode not in ("nearest", "nearest-exact"):
            return f"the upsample is {mode}, which mixes values: sigmoid of a mean is not the mean of sigmoids"
        if len(value_users(graph, upsample)) > 1:
            return "the upsampled features are used elsewhere too"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Swap the two."""
        gate = node_named(graph, site.node)
        upsample = input_node(gate)
        small = input_node(upsample)
        gate.replace_all_uses_with(upsample)
        gate.replace_input_with(upsample, small)
        upsample.replace_input_with(small, gate)
        upsample.prepend(gate)


def _is_gate(graph: GraphModule, node: Node) -> bool:
    return is_call(graph, node, SIGMOID, HARD_SIGMOID)


def _upsample_mode(graph: GraphModule, node: Node) -> str | None:
    """Return the mode of an upsample, or None if the node is none."""
    return str(arguments(graph, node)["mode"]) if is_call(graph, node, INTERPOLATE) else None
