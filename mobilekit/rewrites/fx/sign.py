"""What values cannot fall below, whatever the input."""

from __future__ import annotations

import operator

import torch
from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.rewrites.fx.graph import input_node
from mobilekit.rewrites.fx.ops import (
    ADAPTIVE_AVERAGE_POOL,
    ADD,
    AVERAGE_POOL,
    CLAMP,
    CONCATENATE,
    DIVIDE,
    DROPOUT,
    HARD_SIGMOID,
    IDENTITY,
    INTERPOLATE,
    MATRIX_PRODUCT,
    MAX_POOL,
    MULTIPLY,
    PERMUTE,
    RELU,
    RELU6,
    RESHAPE,
    SIGMOID,
    SOFTMAX,
    SUM,
    TRANSPOSE,
    OpSpelling,
    arguments,
    concatenated,
    is_call,
    number,
    operands,
    relu6_input,
    shifted,
)

_NEVER_NEGATIVE = (
    RELU,
    RELU6,
    SIGMOID,
    HARD_SIGMOID,
    SOFTMAX,
    OpSpelling((nn.Softplus,), (torch.exp,), ("exp", "exp_")),
)
# What is not negative of an input that is not.
_KEEPS = (
    ADAPTIVE_AVERAGE_POOL,
    AVERAGE_POOL,
    DROPOUT,
    IDENTITY,
    MAX_POOL,
    PERMUTE,
    RESHAPE,
    SUM,
    TRANSPOSE,
    OpSpelling((), (torch.mean,), ("mean",)),
    OpSpelling(
        (nn.Flatten,),
        (operator.getitem, torch.flatten, torch.unsqueeze, torch.squeeze, torch.chunk, torch.split),
        ("flatten", "unsqueeze", "squeeze", "expand", "contiguous", "chunk", "split"),
    ),
)


def is_nonnegative(graph: GraphModule, node: object) -> bool:
    """Return whether the graph itself shows that a value is never negative; False where it does not show it."""
    bound = lower_bound(graph, node)
    return bound is not None and bound >= 0


def lower_bound(graph: GraphModule, node: object) -> float | None:
    """Return what the graph shows that a value never falls below; None where it shows nothing."""
    value = number(node)
    if value is not None:
        return value
    if not isinstance(node, Node):
        return None
    moved = shifted(graph, node)
    if moved is not None:
        bound = lower_bound(graph, moved[0])
        return None if bound is None else bound + moved[1]
    if is_call(graph, node, CLAMP):
        least = number(dict(zip(("min", "max"), node.args[1:], strict=False)).get("min", node.kwargs.get("min")))
        bounds = [bound for bound in (least, lower_bound(graph, input_node(node))) if bound is not None]
        return max(bounds, default=None)
    return 0.0 if _is_nonnegative(graph, node) else None


def _is_nonnegative(graph: GraphModule, node: Node) -> bool:
    if is_call(graph, node, *_NEVER_NEGATIVE) or relu6_input(graph, node) is not None:
        return True
    if is_call(graph, node, *_KEEPS):
        return is_nonnegative(graph, input_node(node))
    if is_call(graph, node, INTERPOLATE):
        is_mean = str(arguments(graph, node)["mode"]) != "bicubic"
        return is_mean and is_nonnegative(graph, input_node(node))
    if is_call(graph, node, CONCATENATE):
        parts = concatenated(node)
        return parts is not None and all(is_nonnegative(graph, part) for part in parts)
    for written in (ADD, MULTIPLY, DIVIDE, MATRIX_PRODUCT):
        both = operands(graph, node, written)
        if both is not None:
            return all(is_nonnegative(graph, each) for each in both)
    return False
