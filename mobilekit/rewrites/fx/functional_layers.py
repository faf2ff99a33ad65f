"""Layers that a model calls as functions on its own tensors, as the layers that rewrites look for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.models.normalization import OF_PICTURES
from mobilekit.rewrites.fx.constants import constant_of

aten = torch.ops.aten

_TENSORS = ("weight", "bias", "running_mean", "running_var")


def raise_layers(graph: GraphModule) -> None:
    """Put a layer in the place of each convolution, batch norm or linear step that is called on stored tensors.

    Weights that forward computes of stored ones (standardized weights, for one) become the layer's own: they then train
    in another parametrization.
    """
    for node in list(graph.graph.nodes):
        make = _MAKERS.get(node.target)
        if make is None:
            continue
        given = _arguments(node)
        nodes = {name: given[name] for name in _TENSORS if isinstance(given.get(name), Node)}
        tensors = {name: constant_of(graph, tensor) for name, tensor in nodes.items()}
        if any(tensor is None for tensor in tensors.values()):
            continue
        layer = make({**given, **tensors})
        if layer is not None:
            _put(graph, node, layer.eval(), _place(graph, node, nodes))


def _arguments(node: Node) -> dict[str, Any]:
    """Return what an operator is called with, by the names of its schema."""
    schema: Any = node.target._schema  # type: ignore[union-attr]
    given = {argument.name: argument.default_value for argument in schema.arguments}
    names = [argument.name for argument in schema.arguments]
    return given | dict(zip(names, node.args, strict=False)) | dict(node.kwargs)


def _put(graph: GraphModule, node: Node, layer: nn.Module, path: str) -> None:
    graph.add_submodule(path, layer)
    with graph.graph.inserting_before(node):
        new = graph.graph.call_module(path, (node.args[0],))
    new.meta = dict(node.meta)
    node.replace_all_uses_with(new)
    graph.graph.erase_node(node)


def _place(graph: GraphModule, node: Node, tensors: dict[str, Node]) -> str:
    """Return the path of the module that holds all these tensors by these names; a free one beside the node without."""
    owners = {str(tensor.target).rpartition(".")[0] for tensor in tensors.values()}
    has_names = all(
        tensor.op == "get_attr" and str(tensor.target).rpartition(".")[2] == name for name, tensor in tensors.items()
    )
    if has_names and len(owners) == 1:
        owner = owners.pop()
        if owner and not list(graph.get_submodule(owner).children()):
            return owner
    targets = {str(tensor.target) for tensor in tensors.values()}
    for path in OF_PICTURES:
        if targets == {f"{path}_{name}" for name in tensors}:
            return path if not hasattr(graph, path) else f"{path}_{node.name}"
    stack = list(node.meta.get("nn_module_stack", {}).values())
    owner = str(stack[-1][0]) if stack else ""
    path = f"{owner}.{node.name}" if owner else str(node.name)
    known = {name for name, _module in graph.named_modules(remove_duplicate=False)}
    while path in known:
        path += "_"
    return path


def _parameter(value: torch.Tensor | None) -> nn.Parameter | None:
    return value if value is None or isinstance(value, nn.Parameter) else nn.Parameter(value.detach())


def _with(layer: nn.Module, given: dict[str, Any]) -> nn.Module:
    for name in ("weight", "bias"):
        layer.register_parameter(name, _parameter(given[name]))
    return layer


def _convolution(kind: Any, axes: int) -> Callable[[dict[str, Any]], nn.Module | None]:
    """Return what makes a convolution along so many axes; None where its weight is not stored."""

    def along_all(value: Any) -> Any:
        return value if isinstance(value, str) else tuple(value) * (axes if len(value) == 1 else 1)

    def make(given: dict[str, Any]) -> nn.Module | None:
        weight, groups = given["weight"], given["groups"]
        if not isinstance(weight, torch.Tensor):
            return None
        is_transposed = "output_padding" in given
        channels = (weight.shape[0], weight.shape[1] * groups)
        options = {name: along_all(given[name]) for name in ("stride", "padding", "dilation")}
        if is_transposed:
            options["output_padding"] = along_all(given["output_padding"])
        inner, outer = channels if is_transposed else channels[::-1]
        layer = kind(inner, outer, tuple(weight.shape[2:]), groups=groups, device="meta", **options)
        return _with(layer, given)

    return make


def _linear(given: dict[str, Any]) -> nn.Module | None:
    weight = given["weight"]
    if not isinstance(weight, torch.Tensor) or weight.ndim != 2:
        return None
    return _with(nn.Linear(weight.shape[1], weight.shape[0], device="meta"), given)


def _batch_norm(given: dict[str, Any]) -> nn.Module | None:
    mean, variance = given["running_mean"], given["running_var"]
    if given["training"] or not isinstance(mean, torch.Tensor):
        return None
    layer = nn.BatchNorm2d(len(mean), given["eps"], given["momentum"], affine=False)
    layer.running_mean, layer.running_var = mean, variance
    return _with(layer, given)


_MAKERS = {
    aten.conv1d.default: _convolution(nn.Conv1d, 1),
    aten.conv1d.padding: _convolution(nn.Conv1d, 1),
    aten.conv2d.default: _convolution(nn.Conv2d, 2),
    aten.conv2d.padding: _convolution(nn.Conv2d, 2),
    aten.conv_transpose2d.input: _convolution(nn.ConvTranspose2d, 2),
    aten.linear.default: _linear,
    aten.batch_norm.default: _batch_norm,
}
