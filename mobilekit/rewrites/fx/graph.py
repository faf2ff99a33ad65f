"""The one form of a model that rewrites work on: a torch.fx graph that keeps the paths of its modules."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.fx import GraphModule, Node
from torch.fx.passes.shape_prop import ShapeProp

from mobilekit.errors import UsageError, first_line
from mobilekit.models.inputs import arguments, by_parameter
from mobilekit.rewrites.fx.functional import batch_norms_as_modules, drop_assertions, drop_float_casts
from mobilekit.rewrites.fx.tracers import PathTracer, SizedTracer
from mobilekit.store.bundle import INPUT


def trace(model: nn.Module, examples: Mapping[str, torch.Tensor] | None = None) -> GraphModule:
    """Return the model's graph, with a copy of its weights, in evaluation mode.

    The graph takes the inputs that `examples` names, in their order; without examples it takes the first alone.

    A model whose Python code computes with the sizes of its tensors cannot be traced for any size. With examples, such
    a model is traced for the sizes that these have.

    Raises:
        UsageError: The model's control flow depends on the values of its tensors; the message names the line.
    """
    model = copy.deepcopy(model).eval()
    name = type(model).__name__
    parameters = by_parameter(model, examples or {INPUT: None})
    try:
        graph = GraphModule(model, PathTracer(parameters).trace(model), name)
    except Exception as error:  # anything may go wrong where Python code meets a proxy in place of a number
        if examples is None:
            raise _refusal(model, error) from error
        try:
            graph = GraphModule(model, SizedTracer(by_parameter(model, examples)).trace(model), name)
            graph.meta["one_size"] = True
        except Exception as second:
            raise _refusal(model, second) from second
    if getattr(model, "meta", {}).get("one_size"):  # a graph that is traced again
        graph.meta["one_size"] = True
    batch_norms_as_modules(graph)
    drop_assertions(graph)
    if examples is not None:
        drop_float_casts(graph, examples)
    tidy(graph)
    return graph


def _refusal(model: nn.Module, error: Exception) -> UsageError:
    """Say at which line of the model's code the tracing ended."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "/torch/" not in frame.filename and not frame.filename.startswith(str(Path(__file__).parents[1]))
    ]
    place = f" at {own[-1].filename}:{own[-1].lineno}: {own[-1].line}" if own else ""
    return UsageError(
        f"{type(model).__name__} cannot be traced{place} ({first_line(error)}).",
        "An exported model cannot branch on the values of its tensors, nor turn them into Python numbers: "
        "compute with tensors there (torch.where), or decide before the model is made.",
    )


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
        self.single = {name: tensor.float() for name, tensor in module.state_dict(keep_vars=True).items()}

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Run the module; of a tensor that layers share, each has a copy."""
        return functional_call(self.module, self.single, tuple(x.float() for x in inputs), tie_weights=False)


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
