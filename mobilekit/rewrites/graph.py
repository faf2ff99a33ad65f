"""The one form of a model that rewrites work on: a torch.fx graph that keeps the paths of its modules."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node, Tracer
from torch.fx.passes.shape_prop import ShapeProp

from mobilekit.errors import UsageError
from mobilekit.models.dfc import FullyConnected


class PathTracer(Tracer):
    """Keeps torch's own layers and DFC's linear maps whole, and follows everything else."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether the call of `m` stays one node of the graph."""
        return isinstance(m, FullyConnected) or super().is_leaf_module(m, module_qualified_name)


def trace(model: nn.Module) -> GraphModule:
    """Return the model's graph, with a copy of its weights, in evaluation mode.

    Raises:
        UsageError: The model's control flow depends on its data.
    """
    try:
        model = copy.deepcopy(model).eval()
        return GraphModule(model, PathTracer().trace(model), type(model).__name__)
    except (torch.fx.proxy.TraceError, TypeError) as error:
        raise UsageError(
            f"{type(model).__name__} cannot be traced: {error}.",
            "A model must not branch on the values of its tensors.",
        ) from error


def note_shapes(graph: GraphModule, example: torch.Tensor) -> None:
    """Write shape and dtype of each node's result for this input to `node.meta["tensor_meta"]`."""
    with torch.no_grad():
        ShapeProp(graph).propagate(example)


def shape_of(node: Node) -> tuple[int, ...] | None:
    """Return the shape of a node's result as `note_shapes` saw it; None if it is no tensor."""
    shape = getattr(node.meta.get("tensor_meta"), "shape", None)
    return None if shape is None else tuple(shape)


def node_named(graph: GraphModule, name: str) -> Node:
    """Return the node of this name."""
    node: Node = next(node for node in graph.graph.nodes if node.name == name)
    return node


def module_of(graph: GraphModule, node: Any) -> nn.Module | None:
    """Return the module that a node calls, or None if it calls none."""
    if isinstance(node, Node) and node.op == "call_module":
        return graph.get_submodule(str(node.target))
    return None


def path_of(node: Node) -> str:
    """Return the path of the module that a node calls, or in whose `forward` it stands."""
    if node.op == "call_module":
        return str(node.target)
    stack = list(node.meta.get("nn_module_stack", {}).values())
    owner = str(stack[-1][0]) if stack else ""
    return f"{owner}.{node.name}" if owner else node.name


def input_node(node: Node) -> Node:
    """Return the node that makes the first argument of `node`, also where it is given by name."""
    first = node.args[0] if node.args else node.kwargs["input"]
    assert isinstance(first, Node)
    return first


def calls_of(graph: GraphModule, path: str) -> int:
    """Return how many nodes call the module at `path`."""
    return sum(node.op == "call_module" and node.target == path for node in graph.graph.nodes)


def tidy(graph: GraphModule) -> None:
    """Drop what nothing uses, check the graph, make its code anew, and put new modules in evaluation mode."""
    graph.graph.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    graph.graph.lint()
    graph.recompile()
    graph.eval()
