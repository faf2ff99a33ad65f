"""A graph in the form in which both exporters take it: named calls, weights that are there, outputs in one tuple."""

from __future__ import annotations

import copy

from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from mobilekit.convert.computed_weights import as_products
from mobilekit.rewrites.fx.layers import name_calls


def flat(model: GraphModule) -> GraphModule:
    """Return a graph of the same weights whose outputs are one tensor or a tuple of them, in their order."""
    graph = GraphModule(model, copy.deepcopy(model.graph))
    name_calls(graph)
    as_products(graph.graph)
    output, found = graph.graph.output_node(), list[Node]()
    map_arg(output.args, found.append)
    output.args = (tuple(found),)
    graph.recompile()
    return graph
