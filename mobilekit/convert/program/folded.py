"""What a program computes without its inputs, held as tensors: kernels need weights that are there."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from mobilekit.convert.program.graph import NUMBERS

_FOLDED = "folded_{}"
_ASSERTION = torch.ops.aten._assert_tensor_metadata.default
_FEW = 2**14
"""Numbers, 64 KB, that a step may make of fewer: such as the coordinates of 64 x 64 places and two axes, with room."""


@torch.no_grad()
def fold_constants(graph: GraphModule) -> None:
    """Put tensors in the place of steps that take nothing but tensors of the model and numbers, in place.

    A step that makes many numbers of few stays, so that no file grows by it. A tensor that a step writes into is none
    of those.

    Args:
        graph: A program's, its steps those of ATen.
    """
    values = _values(graph)
    for node in list(graph.graph.nodes):
        if node.target is _ASSERTION and all(each in values for each in node.all_input_nodes):
            graph.graph.erase_node(node)  # it has held, and would keep what it is about
    held = 0
    for node in [node for node in values if node.op == "call_function"]:
        value = values[node]
        if isinstance(value, torch.Tensor) and any(user not in values for user in node.users):
            name = _FOLDED.format(held)
            held += 1
            graph.register_buffer(name, value.contiguous().clone())
            with graph.graph.inserting_before(node):
                made = graph.graph.get_attr(name)
            made.meta = dict(node.meta)
            node.replace_all_uses_with(made, delete_user_cb=lambda user: user not in values)
    if held:
        graph.graph.eliminate_dead_code()
        _forget_unread(graph)
        graph.recompile()


def _values(graph: GraphModule) -> dict[Node, Any]:
    """Return what is known before any input is there, by the node."""
    written = {str(origin.target) for node in graph.graph.nodes for origin in _written(node)}
    values = dict[Node, Any]()
    for node in graph.graph.nodes:
        if node.op == "get_attr" and node.target not in written:
            values[node] = _tensor(graph, node.target)
        elif _is_known(node, values):
            made = node.target(*map_arg(node.args, values.get), **map_arg(node.kwargs, values.get))
            if _count(made) <= max([_FEW, *(_count(values[each]) for each in node.all_input_nodes)]):
                values[node] = made
    return values


def _is_known(node: Node, values: Mapping[Node, Any]) -> bool:
    """Return whether a step gives the same whatever the program is given."""
    if node.op != "call_function":
        return False
    taken = node.all_input_nodes
    return node.target in NUMBERS or (bool(taken) and all(each in values for each in taken) and _is_pure(node.target))


def _written(node: Node) -> Iterator[Node]:
    """Yield the tensors of the model that a step writes into, through views of them too."""
    schema = getattr(node.target, "_schema", None)
    if node.op != "call_function" or schema is None or not schema.is_mutable:
        return
    for argument, given in zip(schema.arguments, node.args, strict=False):
        if argument.is_write and isinstance(given, Node):
            while given.op == "call_function" and _is_view(given.target):
                given = given.all_input_nodes[0]
            if given.op == "get_attr":
                yield given


def _is_view(target: Any) -> bool:
    """Return whether what an operator gives may be the memory of what it takes."""
    schema = getattr(target, "_schema", None)
    return target is operator.getitem or (schema is not None and any(each.alias_info for each in schema.returns))


def _is_pure(target: Any) -> bool:
    """Return whether an operator gives the same at each call, and writes nowhere."""
    if target is operator.getitem:
        return True
    if not isinstance(target, torch._ops.OpOverload) or target._schema.is_mutable or not target._schema.returns:
        return False
    return torch.Tag.nondeterministic_seeded not in target.tags


def _count(value: Any) -> int:
    """Return how many numbers a tensor, or tensors together, have."""
    return sum(map(_count, value)) if isinstance(value, list | tuple) else int(value.numel())


def _tensor(graph: GraphModule, name: str) -> Any:
    *path, last = name.split(".")
    return getattr(graph.get_submodule(".".join(path)), last)


def _forget_unread(graph: GraphModule) -> None:
    """Delete the tensors that no step reads: torch.export would hold them."""
    read = {node.target for node in graph.graph.nodes if node.op == "get_attr"}
    names = [name for name, _ in [*graph.named_parameters(), *graph.named_buffers()]]
    for name in names:
        if name not in read:
            *path, last = name.split(".")
            delattr(graph.get_submodule(".".join(path)), last)
