"""The dtype that a graph computes in, also where the model's own code names one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.node import map_aggregate

_FLOATS = (torch.float32, torch.float64)


def name_dtypes(graph: GraphModule) -> None:
    """Give each call that makes floats of nothing, as `arange`, its dtype as an argument."""
    for node in graph.graph.nodes:
        schema: Any = getattr(node.target, "_schema", None)
        if schema is None or node.all_input_nodes or "dtype" in node.kwargs:
            continue
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor) and any(argument.name == "dtype" for argument in schema.arguments):
            node.kwargs = {**node.kwargs, "dtype": value.dtype}


def compute_in(graph: GraphModule, dtype: torch.dtype) -> GraphModule:
    """Let a graph compute in another float format, in place: its floats, and each dtype that its calls name."""
    graph.to(dtype)
    if _name(graph, dtype):
        graph.recompile()
    return graph


@contextmanager
def named_as(graph: GraphModule, dtype: torch.dtype) -> Iterator[None]:
    """Within the block the calls of a graph name this dtype in place of the other; its tensors stay as they are."""
    before = {node: (node.args, node.kwargs) for node in graph.graph.nodes}
    if not _name(graph, dtype):
        yield
        return
    graph.recompile()
    try:
        yield
    finally:
        for node, (args, kwargs) in before.items():
            node.args, node.kwargs = args, kwargs
        graph.recompile()


def _name(graph: GraphModule, dtype: torch.dtype) -> bool:
    """Put a dtype in the place of the other in all calls; return whether any names one."""
    found = [node for node in graph.graph.nodes if _names_other(node, dtype)]
    for node in found:
        node.args = map_aggregate(node.args, lambda value: _swapped(value, dtype))
        node.kwargs = map_aggregate(node.kwargs, lambda value: _swapped(value, dtype))
    return bool(found)


def _names_other(node: Node, dtype: torch.dtype) -> bool:
    values = (*node.args, *node.kwargs.values())
    return node.op == "call_function" and any(
        value in _FLOATS and value is not dtype for value in values if isinstance(value, torch.dtype)
    )


def _swapped(value: Any, dtype: torch.dtype) -> Any:
    return dtype if isinstance(value, torch.dtype) and value in _FLOATS else value
