"""Forms of steps that sum, multiply and bound."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.fx import Node

from mobilekit.convert.program.graph import Writer, given, is_float, shape_of

aten = torch.ops.aten
CLAMPS = (aten.relu.default, aten.relu6.default, aten.hardtanh.default, aten.clamp.default)
_CUBIC = 0.044715
"""Of GELU's tanh form: arXiv 1606.08415, equation 2."""


def sum_of(writer: Writer, node: Node) -> Node | None:
    """Return a sum as a linear map by ones."""
    return _summed(writer, node, 1.0)


def mean(writer: Writer, node: Node) -> Node | None:
    """Return a mean over a map's height and width with these axes kept, as XNNPACK has it, and others as sums."""
    arguments = given(node)
    source, axes = arguments["self"], _axes(node)
    if arguments["dtype"] is not None or not is_float(node):
        return None
    if len(shape_of(source)) == 4 and axes == [2, 3]:
        if arguments["keepdim"]:
            return None
        return writer.view(writer.call(aten.mean.dim, source, [2, 3], True), *shape_of(node))
    return _summed(writer, node, 1 / math.prod(shape_of(source)[axis] for axis in axes))


def _axes(node: Node) -> list[int]:
    arguments = given(node)
    rank = len(shape_of(arguments["self"]))
    return sorted(axis % rank for axis in arguments["dim"] or range(rank))


def _summed(writer: Writer, node: Node, weight: float) -> Node | None:
    arguments = given(node)
    source = arguments["self"]
    if arguments["dtype"] is not None or not is_float(node) or not is_float(source):
        return None
    axes, shape = _axes(node), shape_of(source)
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    if [*kept, *axes] != [*range(len(shape))]:
        source = writer.call(aten.permute.default, source, [*kept, *axes])
    count = math.prod(shape[axis] for axis in axes)
    rows = writer.view(source, math.prod(shape) // count, count)
    return writer.view(weighted_sum(writer, rows, weight), *shape_of(node))


def weighted_sum(writer: Writer, rows: Node, weight: float) -> Node:
    """Return the sum of each row, (rows, 1), times a weight."""
    ones = writer.constant(torch.ones(1, shape_of(rows)[1]))
    total = writer.call(aten.linear.default, rows, ones)
    return total if weight == 1 else writer.call(aten.mul.Tensor, total, weight)


def float_number(writer: Writer, node: Node) -> Node | None:
    """Return arithmetic with a whole number as one with a float, and a sum with a factor as a product and a sum.

    ExecuTorch makes a tensor of integers of a whole number, and converts it in each run.
    """
    arguments = given(node)
    left, right, alpha = arguments["self"], arguments["other"], arguments.get("alpha", 1)
    is_whole = isinstance(right, int)
    if not is_float(node) or (alpha == 1 and not is_whole):
        return None
    if isinstance(right, Node):
        return writer.call(node.target, left, writer.call(aten.mul.Tensor, right, float(alpha)))
    return writer.call(node.target, left, float(right) * alpha)


def reversed_difference(writer: Writer, node: Node) -> Node | None:
    """Return `other - alpha * x` as a product and a difference."""
    arguments = given(node)
    source, alpha = arguments["self"], arguments["alpha"]
    if alpha == 1 or not is_float(node):
        return None
    return writer.call(node.target, writer.call(aten.mul.Tensor, source, float(alpha)), arguments["other"])


def gelu(writer: Writer, node: Node) -> Node | None:
    """Return GELU's tanh form as its formula: ExecuTorch 1.5 and coremltools 9 compute GELU itself in its place."""
    x = node.args[0]
    if given(node)["approximate"] != "tanh":
        return None
    writer.as_formula_of("GELU")
    cube = writer.call(aten.mul.Tensor, writer.call(aten.mul.Tensor, writer.call(aten.mul.Tensor, x, x), x), _CUBIC)
    inner = writer.call(aten.mul.Tensor, writer.call(aten.add.Tensor, x, cube), math.sqrt(2 / math.pi))
    bounded = writer.call(aten.add.Tensor, writer.call(aten.tanh.default, inner), 1.0)
    return writer.call(aten.mul.Tensor, writer.call(aten.mul.Tensor, x, 0.5), bounded)


def one_clamp(writer: Writer, node: Node) -> Node | None:
    """Return two clamps one after another as one.

    ExecuTorch 1.5 fuses both into the step before them, and forgets the first. Clamps rise: the two together are a
    clamp between what they make of minus and plus infinity.
    """
    first = node.args[0]
    if not isinstance(first, Node) or first.target not in CLAMPS or len(first.users) > 1 or not is_float(node):
        return None
    (low, high), bounds = _bounds(first), _bounds(node)
    together = [min(max(end, bounds[0]), bounds[1]) for end in (low, high)]
    if together == [0.0, math.inf]:
        return writer.call(aten.relu.default, first.args[0])
    if math.inf in together or -math.inf in together:
        return writer.call(
            aten.clamp.default, first.args[0], *(each if math.isfinite(each) else None for each in together)
        )
    return writer.call(aten.hardtanh.default, first.args[0], *together)


def _bounds(node: Node) -> tuple[float, float]:
    arguments: dict[str, Any] = given(node)
    if node.target is aten.hardtanh.default:
        return float(arguments["min_val"]), float(arguments["max_val"])
    if node.target is aten.clamp.default:
        low, high = arguments["min"], arguments["max"]
        return -math.inf if low is None else float(low), math.inf if high is None else float(high)
    return 0.0, math.inf if node.target is aten.relu.default else 6.0
