"""What a view is of, with the view's values changed."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Graph, Node

from mobilekit.rewrites.fx.refusals import refused_change
from mobilekit.rewrites.fx.spelling import takes_all

aten = torch.ops.aten

_ORDER_KEPT = (
    aten.view.default,
    aten.reshape.default,
    aten.flatten.using_ints,
    aten.unflatten.int,
    aten.unsqueeze.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
)
_SAME = (
    aten.alias.default,
    aten.detach.default,
    aten.detach_.default,
    aten.contiguous.default,
    aten.to.dtype,
    aten.lift_fresh_copy.default,
)


def written_back(graph: Graph, source: Node, view: Node, new: Node) -> Node:
    """Return `source` with the values of `new` in the places that `view` takes its own from.

    Raises:
        UsageError: The places are not known.
    """
    target: Any = view.target
    shape = source.meta["val"].shape
    if target in _SAME:
        return new
    if target in _ORDER_KEPT:
        return _reshaped(graph, new, source)
    if target in (aten.transpose.int, aten.mT.default, aten.t.default):
        axes = view.args[1:] or (-2, -1)
        return graph.call_function(aten.transpose.int, (new, *axes))
    if target is aten.permute.default:
        order = [dim % len(shape) for dim in view.args[1]]  # type: ignore[union-attr,operator]
        return graph.call_function(target, (new, [order.index(axis) for axis in range(len(order))]))
    given: list[Any] = list(view.args[1:])
    if target is aten.select.int:
        axis, index = given[0] % len(shape), given[1]
        row = graph.call_function(aten.unsqueeze.default, (new, axis))
        if isinstance(shape[axis], int) and isinstance(index, int):
            index %= shape[axis]
            return _between(graph, source, row, axis, (index, index + 1), shape[axis])
    if target is aten.slice.Tensor:
        if takes_all(view):
            return new
        given += [0, None, None, 1][len(given) :]
        axis, start, end, step = given
        axis %= len(shape)
        if isinstance(shape[axis], int) and step == 1:
            first, last, _step = slice(start, end).indices(shape[axis])
            return _between(graph, source, new, axis, (first, last), shape[axis])
        return graph.call_function(aten.slice_scatter.default, (source, new, axis, start, end, step))
    raise refused_change(view)


def _reshaped(graph: Graph, new: Node, source: Node) -> Node:
    """Return a value in the shape of another; of shapes with a free batch the other says how large it is."""
    shape = [size if isinstance(size, int) else -1 for size in source.meta["val"].shape]
    if shape.count(-1) > 1:
        return graph.call_function(aten.reshape_as.default, (new, source))
    return graph.call_function(aten.reshape.default, (new, shape))


def _between(graph: Graph, source: Node, new: Node, axis: int, places: tuple[int, int], length: int) -> Node:
    """Return `source` with `new` in these places of an axis: the parts around it are joined to it."""
    parts = []
    for start, end in ((0, places[0]), places, (places[1], length)):
        if (start, end) == places:
            parts.append(new)
        elif start < end:
            parts.append(graph.call_function(aten.slice.Tensor, (source, axis, start, end)))
            parts[-1].meta = dict(source.meta)
    return graph.call_function(aten.cat.default, (parts, axis)) if len(parts) > 1 else new
