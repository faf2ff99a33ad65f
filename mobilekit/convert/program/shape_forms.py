"""Forms of steps that copy, cut and place values."""

from __future__ import annotations

import math
import operator
from itertools import accumulate

import torch
from torch.fx import Node

from mobilekit.convert.program.graph import Writer, given, is_float, shape_of

aten = torch.ops.aten
NOTHING = (
    *(aten.slice.Tensor, aten.alias.default, aten.clone.default, aten.contiguous.default, aten.dropout.default),
    *(aten.feature_dropout.default, aten.detach.default, aten.lift_fresh_copy.default),
)
"""What may do nothing: a slice of everything, a copy, a dropout at inference."""


def copies(writer: Writer, node: Node) -> Node | None:
    """Return a concatenation of one tensor with itself as a product with ones, which repeats it.

    ExecuTorch counts the inputs of a concatenation as a set, in which a tensor stands once.
    """
    tensors, axis = list(node.args[0]), given(node)["dim"]  # type: ignore[arg-type]
    if len(tensors) < 2 or len({*tensors}) > 1 or not is_float(node):
        return None
    shape = shape_of(tensors[0])
    axis %= len(shape)
    flat = writer.view(tensors[0], math.prod(shape[:axis]), 1, math.prod(shape[axis:]))
    ones = writer.constant(torch.ones(1, len(tensors), 1))
    return writer.view(writer.call(aten.mul.Tensor, flat, ones), *shape_of(node))


def nothing(_writer: Writer, node: Node) -> Node | None:
    """Return what a step takes, where it gives just that: XNNPACK has no step that does nothing."""
    source = node.args[0]
    assert isinstance(source, Node)
    return source if shape_of(source) == shape_of(node) and not _turns(node) else None


def _turns(node: Node) -> bool:
    """Return whether a slice takes what it takes in another order, which a step of 1 does not."""
    return node.target is aten.slice.Tensor and given(node)["step"] != 1


def expanded(writer: Writer, node: Node) -> Node | None:
    """Return a broadcast as a product with ones."""
    source = node.args[0]
    assert isinstance(source, Node)
    shape = shape_of(node)
    if shape_of(source) == shape:
        return source
    return writer.call(aten.mul.Tensor, source, writer.constant(torch.ones(shape))) if is_float(node) else None


def parts(writer: Writer, node: Node) -> None:
    """Write a split as slices, in the places of its parts."""
    source, axis = node.args[0], given(node)["dim"]
    assert isinstance(source, Node)
    sizes = [int(part.shape[axis]) for part in node.meta["val"]]
    ends = [*accumulate(sizes)]
    for user in [each for each in node.users if each.target is operator.getitem]:
        number = user.args[1]
        part = Writer(writer.graph, user).call(
            aten.slice.Tensor,
            source,
            axis,
            ends[number] - sizes[number],  # type: ignore[index]
            ends[number],  # type: ignore[index]
        )
        user.replace_all_uses_with(part)
        writer.graph.graph.erase_node(user)


def selected(writer: Writer, node: Node) -> Node:
    """Return one place of an axis as a slice in another shape."""
    arguments = given(node)
    source, axis = arguments["self"], arguments["dim"]
    start = arguments["index"] % shape_of(source)[axis]
    return writer.view(writer.call(aten.slice.Tensor, source, axis, start, start + 1), *shape_of(node))


def other_view(writer: Writer, node: Node) -> Node:
    """Return a step that adds, drops or joins axes as a view."""
    source = node.args[0]
    assert isinstance(source, Node)
    return writer.view(source, *shape_of(node))


def negative_pad(writer: Writer, node: Node) -> Node | None:
    """Return a padding of which some sides are cut off as slices and a padding: XNNPACK reads it as a large number."""
    arguments = given(node)
    if arguments.get("mode", "constant") != "constant" or min(arguments["pad"]) >= 0:
        return None
    source, pad, rank = node.args[0], list(arguments["pad"]), len(shape_of(node))
    assert isinstance(source, Node)
    for place in range(0, len(pad), 2):
        axis = rank - 1 - place // 2
        length, (low, high) = shape_of(source)[axis], (min(each, 0) for each in pad[place : place + 2])
        if low or high:
            source = writer.call(aten.slice.Tensor, source, axis, -low, length + high)
    rest = [max(each, 0) for each in pad]
    return writer.call(aten.constant_pad_nd.default, source, rest, arguments["value"] or 0.0) if any(rest) else source


def constant(writer: Writer, node: Node) -> Node | None:
    """Return what is made of numbers alone as a tensor that the program holds."""
    if node.all_input_nodes or node.meta["val"].dtype is not torch.float32:
        return None
    target = node.target
    return writer.constant(target(*node.args, **node.kwargs))  # type: ignore[operator]


def filled(writer: Writer, node: Node) -> Node | None:
    """Return a tensor of one number that takes its shape or format from another as one that the program holds."""
    if node.meta["val"].dtype is not torch.float32:
        return None
    number = given(node).get("fill_value", 1.0 if "ones" in str(node.target) else 0.0)
    return writer.constant(torch.full(shape_of(node), float(number)))
