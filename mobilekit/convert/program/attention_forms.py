"""Forms of attention: products of stacks of matrices, and softmax."""

from __future__ import annotations

import math

import torch
from torch.fx import Node

from mobilekit.convert.program.graph import Writer, given, shape_of

aten = torch.ops.aten


def matmul(writer: Writer, node: Node) -> Node | None:
    """Return a product of two stacks of matrices without the broadcasts that PyTorch puts before it."""
    left, right = node.args
    assert isinstance(left, Node)
    assert isinstance(right, Node)
    one, other = shape_of(left), shape_of(right)
    if len(one) < 4 or len(one) != len(other) or one[:-2] != other[:-2]:
        return None
    count = math.prod(one[:-2])
    flat = writer.view(left, count, *one[-2:]), writer.view(right, count, *other[-2:])
    return writer.view(writer.call(aten.bmm.default, *flat), *shape_of(node))


def softmax(writer: Writer, node: Node) -> Node | None:
    """Return a softmax as one over the rows of a matrix.

    XNNPACK's is over the last axis, and ExecuTorch 1.5 gives it maps with the channels last: it sums over them then.
    """
    source, axis = node.args[:2]
    assert isinstance(source, Node)
    assert isinstance(axis, int)
    shape = shape_of(source)
    rank, axis = len(shape), axis % len(shape)
    if (rank < 3 and axis == rank - 1) or given(node)["dtype"] is not None:
        return None
    order = [*range(rank)]
    order[axis], order[-1] = order[-1], order[axis]
    moved = source if axis == rank - 1 else writer.call(aten.permute.default, source, order)
    made = _softmax_of_rows(writer, moved)
    return made if axis == rank - 1 else writer.call(aten.permute.default, made, order)


def _softmax_of_rows(writer: Writer, source: Node) -> Node:
    """Return the softmax over the last axis, of a matrix."""
    shape = shape_of(source)
    rows = writer.view(source, math.prod(shape[:-1]), shape[-1])
    return writer.view(writer.call(aten.softmax.int, rows, -1), *shape)


def attention(writer: Writer, node: Node) -> Node | None:
    """Return softmax(scale * query @ key^T) @ value as these steps (arXiv 1706.03762, equation 1).

    ExecuTorch 1.5 looks for rows with nothing in them, which there are in masks alone, by steps that XNNPACK has not.
    """
    arguments = given(node)
    query, key, value = (arguments[name] for name in ("query", "key", "value"))
    stack = shape_of(query)[:-2]
    is_masked = arguments["attn_mask"] is not None or arguments["is_causal"]
    if is_masked or arguments["dropout_p"] or any(shape_of(each)[:-2] != stack for each in (key, value)):
        return None
    width = shape_of(query)[-1]
    scale = width**-0.5 if arguments["scale"] is None else arguments["scale"]
    queries, keys, values = (writer.view(each, math.prod(stack), *shape_of(each)[-2:]) for each in (query, key, value))
    turned = writer.call(aten.permute.default, keys, [0, 2, 1])
    scores = writer.call(aten.bmm.default, writer.call(aten.mul.Tensor, queries, scale), turned)
    return writer.view(writer.call(aten.bmm.default, _softmax_of_rows(writer, scores), values), *shape_of(node))
