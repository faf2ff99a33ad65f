"""Layers that a model calls as functions, as the modules that rewrites look for."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node
from torch.nn import functional as F

from mobilekit.rewrites.fx.record import record_values

_BATCH_NORM = inspect.signature(F.batch_norm)


def batch_norms_as_modules(graph: GraphModule) -> None:
    """Replace each `F.batch_norm` on stored statistics by a call of a BatchNorm2d that holds the same tensors.

    timm's layers that join a norm and an activation call the function.
    """
    for node in list(graph.graph.nodes):
        if node.op != "call_function" or node.target is not F.batch_norm:
            continue
        given = _BATCH_NORM.bind(*node.args, **node.kwargs)
        given.apply_defaults()
        values = given.arguments
        if values["training"] is not False or not _is_stored(values["running_mean"]):
            continue
        path = str(values["running_mean"].target).rsplit(".", 1)[0] + ".norm"
        graph.add_submodule(path, _norm(graph, values))
        with graph.graph.inserting_before(node):
            call = graph.graph.call_module(path, (values["input"],))
        call.meta = dict(node.meta)
        node.replace_all_uses_with(call)
        graph.graph.erase_node(node)


def drop_assertions(graph: GraphModule) -> None:
    """Remove `torch._assert` on shapes: they held while the model was traced, and make a layer's output look used."""
    for node in list(graph.graph.nodes):
        if node.op == "call_function" and node.target is torch._assert:
            graph.graph.erase_node(node)


def drop_float_casts(graph: GraphModule, inputs: Mapping[str, torch.Tensor]) -> None:
    """Remove casts to float32 of what is float32 already: they do nothing there, and break the model in float64."""
    casts = [node for node in graph.graph.nodes if _is_float_cast(node)]
    if not casts:
        return
    values = record_values(graph, inputs, nodes={node.all_input_nodes[0] for node in casts})
    for node in casts:
        source = node.all_input_nodes[0]
        if source in values and values[source].dtype == torch.float32:
            node.replace_all_uses_with(source)
            graph.graph.erase_node(node)


def _is_float_cast(node: Node) -> bool:
    if node.op != "call_method":
        return False
    return node.target == "float" or (node.target in ("to", "type") and torch.float32 in node.args[1:])


def _is_stored(value: Any) -> bool:
    return isinstance(value, Node) and value.op == "get_attr" and "." in str(value.target)


def _norm(graph: GraphModule, values: dict[str, Any]) -> nn.BatchNorm2d:
    def tensor(name: str) -> torch.Tensor | None:
        node = values[name]
        return operator.attrgetter(str(node.target))(graph) if isinstance(node, Node) else None

    mean, variance, weight, bias = (tensor(name) for name in ("running_mean", "running_var", "weight", "bias"))
    assert mean is not None
    norm = nn.BatchNorm2d(len(mean), eps=values["eps"], affine=False)
    norm.running_mean, norm.running_var = mean, variance
    norm.register_parameter("weight", None if weight is None else nn.Parameter(weight.detach()))
    norm.register_parameter("bias", None if bias is None else nn.Parameter(bias.detach()))
    return norm.eval()
