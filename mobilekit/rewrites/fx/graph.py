"""The one form of a model that rewrites work on: a torch.fx graph that keeps the paths of its modules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.fx import GraphModule, Node
from torch.fx.passes.shape_prop import ShapeProp

from mobilekit.errors import UsageError
from mobilekit.models.inputs import arguments
from mobilekit.rewrites.fx.capture import capture
from mobilekit.rewrites.fx.precision import named_as
from mobilekit.rewrites.fx.refusals import refusal

_OF_ONE_OPERATOR = (
    r"torch\.nn\.modules\.(activation\.(?!Multihead)|pooling|upsampling|padding|flatten|pixelshuffle|channelshuffle)"
)


def trace(model: nn.Module, examples: Mapping[str, torch.Tensor]) -> GraphModule:
    """Return the model's graph of ATen operators, with a copy of its weights, in evaluation mode.

    The graph takes the inputs that `examples` names, in their order, of their height and width, and any batch where
    the model takes any.

    Raises:
        UsageError: The model cannot be exported, as its control flow depends on values; the message names the line.
    """
    try:
        graph = capture(model, examples)
    except UsageError:
        raise
    except Exception as error:  # anything may go wrong where Python code meets a tensor without values
        raise refusal(model, error) from error
    tidy(graph)
    return graph


def note_shapes(graph: GraphModule, examples: Mapping[str, torch.Tensor]) -> None:
    """Write the shape of each node's result for these inputs to `node.meta["tensor_meta"]`.

    The values do not matter, and float32 takes half of float64's time.
    """
    with torch.no_grad():
        InFloat32(_Shapes(graph))(*arguments(graph, examples))


class InFloat32(nn.Module):
    """A module with its tensors and inputs in float32 while it runs: to copy a graph takes longer than a run."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        # Of a module under two names one is named: the other is the same module.
        self.single = {
            f"{path}.{name}".lstrip("."): tensor.float() if tensor.is_floating_point() else tensor
            for path, owner in module.named_modules()
            for name, tensor in (*owner.named_parameters(recurse=False), *owner.named_buffers(recurse=False))
        }

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Run the module; of a tensor that layers share, each has a copy."""
        single = tuple(x.float() if x.is_floating_point() else x for x in inputs)
        graphs = [module for module in self.module.modules() if isinstance(module, GraphModule)]
        with ExitStack() as stack:
            for graph in graphs:
                stack.enter_context(named_as(graph, torch.float32))
            return functional_call(self.module, self.single, single, tie_weights=False)


class _Shapes(nn.Module):
    def __init__(self, graph: GraphModule) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, *inputs: torch.Tensor) -> None:
        """Run the graph, and note what each node makes."""
        ShapeProp(self.graph).propagate(*inputs)


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
    """Return the path of the module that a node calls, or of a call in a module's `forward`: `MODULE.NODE`.

    An operator that is all of one of torch's own layers, as of nn.ReLU, has that layer's path.
    """
    owner = module_path_of(node)
    stack = list(node.meta.get("nn_module_stack", {}).values())
    if node.op == "call_module" or (owner and re.match(_OF_ONE_OPERATOR, str(stack[-1][1]))):
        return owner
    return f"{owner}.{node.name}" if owner else str(node.name)


def module_path_of(node: Node) -> str:
    """Return the path of the module that a node calls, or in whose `forward` it stands; empty for the whole model."""
    if node.op == "call_module":
        return str(node.target)
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return str(stack[-1][0]) if stack else ""


def input_node(node: Node) -> Node:
    """Return the node that makes the first argument of `node`."""
    first = node.args[0]
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
