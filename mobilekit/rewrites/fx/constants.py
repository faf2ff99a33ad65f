"""Values that depend on stored tensors alone."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg


def constant_of(graph: GraphModule, node: Any) -> torch.Tensor | None:
    """Return the value of a node that depends on stored tensors alone; None where it depends on the input.

    A parameter is returned as it is, so that what takes it shares it.
    """
    if not isinstance(node, Node):
        return None
    if node.op == "get_attr":
        value = attrgetter(str(node.target))(graph)
        return value if isinstance(value, torch.Tensor) else None
    if node.op not in ("call_function", "call_module"):
        return None
    known = {source: constant_of(graph, source) for source in node.all_input_nodes}
    if any(value is None for value in known.values()):
        return None
    target: Any = node.target if node.op == "call_function" else graph.get_submodule(str(node.target))
    with torch.no_grad():
        result = target(*map_arg(node.args, known.__getitem__), **map_arg(node.kwargs, known.__getitem__))
    return result if isinstance(result, torch.Tensor) else None


def store_constants(graph: GraphModule) -> None:
    """Store each float tensor that a graph makes of stored ones alone, in place; its node then reads it."""
    needs_input = needing_input(graph)
    made = [
        (node, value)
        for node in graph.graph.nodes
        if node.op in ("call_function", "call_module")
        and node not in needs_input
        and needs_input.keys() & set(node.users)
        if (value := constant_of(graph, node)) is not None and value.is_floating_point()
    ]
    for node, value in made:
        name = f"_made_{node.name}"
        graph.register_buffer(name, value.clone())
        node.op, node.target, node.args, node.kwargs = "get_attr", name, (), {}
    graph.graph.eliminate_dead_code()
    graph.recompile()


def needing_input(graph: GraphModule) -> dict[Node, None]:
    """Return the nodes whose values depend on an input, in their order."""
    found: dict[Node, None] = {}
    for node in graph.graph.nodes:
        if node.op in ("placeholder", "output") or any(source in found for source in node.all_input_nodes):
            found[node] = None
    return found
