"""Values that depend on stored tensors alone."""

from __future__ import annotations

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
        owner, _, name = str(node.target).rpartition(".")
        value = getattr(graph.get_submodule(owner), name)
        return value if isinstance(value, torch.Tensor) else None
    if node.op != "call_function":
        return None
    known = {source: constant_of(graph, source) for source in node.all_input_nodes}
    if any(value is None for value in known.values()):
        return None
    target: Any = node.target
    with torch.no_grad():
        result = target(*map_arg(node.args, known.__getitem__), **map_arg(node.kwargs, known.__getitem__))
    return result if isinstance(result, torch.Tensor) else None
