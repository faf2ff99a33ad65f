"""What values cannot fall below, whatever the input."""

from __future__ import annotations

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
    EXP,
    EXPAND,
    FLATTEN,
    HARD_SIGMOID,
    INTERPOLATE,
    MATRIX_PRODUCT,
    MAX_POOL,
    MEAN,
    MULTIPLY,
    PART,
    PERMUTE,
    RELU,
    RESHAPE,
    SIGMOID,
    SLICE,
    SOFTMAX,
    SOFTPLUS,
    SPLIT,
    SQUARE_ROOT,
    SQUEEZE,
    SUM,
    TRANSPOSE,
    UNFLATTEN,
    UNSQUEEZE,
    arguments,
    concatenated,
    is_call,
    least_of,
    number,
    operands,
    shifted,
)

_NEVER_NEGATIVE = (RELU, SIGMOID, HARD_SIGMOID, SOFTMAX, SOFTPLUS, EXP, SQUARE_ROOT)
# What is not negative of an input that is not.
_KEEPS = (
    ADAPTIVE_AVERAGE_POOL,
    AVERAGE_POOL,
    DROPOUT,
    EXPAND,
    FLATTEN,
    MAX_POOL,
    MEAN,
    PART,
    PERMUTE,
    RESHAPE,
    SLICE,
    SPLIT,
    SQUEEZE,
    SUM,
    TRANSPOSE,
    UNFLATTEN,
    UNSQUEEZE,
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
        least, most = least_of(graph, node), number(arguments(graph, node)["max"])
        below = lower_bound(graph, input_node(node))
        bounds = [bound for bound in (least, below) if bound is not None]
        if most is not None and bounds and max(bounds) > most:
            return most
        return max(bounds, default=None)
    return 0.0 if _is_nonnegative(graph, node) else None


def _is_nonnegative(graph: GraphModule, node: Node) -> bool:
    if is_call(graph, node, *_NEVER_NEGATIVE):
        return True
    if is_call(graph, node, *_KEEPS):
        return is_nonnegative(graph, input_node(node))
    if is_call(graph, node, INTERPOLATE):
        is_mean = arguments(graph, node)["mode"] != "bicubic"
        return is_mean and is_nonnegative(graph, input_node(node))
    if is_call(graph, node, CONCATENATE):
        return all(is_nonnegative(graph, part) for part in concatenated(node))
    for op in (ADD, MULTIPLY, DIVIDE, MATRIX_PRODUCT):
        both = operands(graph, node, op)
        if both is not None:
            return all(is_nonnegative(graph, each) for each in both)
    return False
