"""Forms of products and sums that stand with channels last, between moves there and back."""

from __future__ import annotations

import torch
from torch.fx import Node

from mobilekit.convert.program.graph import Writer, given, shape_of
from mobilekit.convert.program.map_forms import CHANNELS_FIRST, CHANNELS_LAST, MAP, repeated

aten = torch.ops.aten


def in_place(writer: Writer, node: Node) -> Node | None:
    """Return a product or sum with channels last, which is moved back, as one with channels first.

    Rewrites write some so, as TFLite files have this order. ExecuTorch moves maps into it and back for each step.
    """
    if node.args[1] != CHANNELS_FIRST:
        return None
    return _of_moved(writer, node) or _with_repeated(writer, node)


def _of_moved(writer: Writer, node: Node) -> Node | None:
    """Return a product or sum of two maps that were moved as it is moved back."""
    made = node.args[0]
    assert isinstance(made, Node)
    maps = [_taken(each, aten.permute.default) for each in made.args] if _is_of_two(made) else [None]
    if None in maps or any(each.args[1] != CHANNELS_LAST for each in made.all_input_nodes):
        return None
    return writer.call(made.target, *maps)


def _is_of_two(node: Node) -> bool:
    return node.target in (aten.mul.Tensor, aten.add.Tensor) and not node.kwargs and len(node.users) == 1


def _with_repeated(writer: Writer, node: Node) -> Node | None:
    """Return a product or sum of a map and a smaller one, whose rows it repeats by a broadcast, as one of two maps.

    The rewrite `upsample-broadcast` makes it.
    """
    made = _taken(node.args[0], aten.reshape.default)
    if made is None or not _is_of_two(made):
        return None
    for blocks, rows in (made.args, made.args[::-1]):
        (large, once), (small, columns) = _pixels(blocks), _pixels(rows)
        if large is None or small is None or once != 1 or shape_of(large) != shape_of(node):
            continue
        _batch, channels, height, width = shape_of(small)
        factor = shape_of(node)[2] // height
        if shape_of(node)[2:] != (height * factor, width * columns):
            continue
        views = [shape_of(view)[1:] for view in (blocks, rows)]  # type: ignore[arg-type]
        if views == [(height, times, width * columns * channels) for times in (factor, 1)]:
            return writer.call(made.target, large, repeated(writer, small, factor, columns))
    return None


def _pixels(node: object) -> tuple[Node | None, int]:
    """Return the map whose pixels a view has, all channels of each, and how often it has each; None of another view."""
    viewed = _taken(node, aten.reshape.default)
    source, count = _copied(viewed) if viewed else (None, 0)
    is_moved = source is not None and source.args[1:] == (CHANNELS_LAST,)
    return _taken(source, aten.permute.default) if is_moved else None, count


def _taken(node: object, target: object) -> Node | None:
    """Return what a step of an operator takes first; None of any other step."""
    return node.args[0] if isinstance(node, Node) and node.target is target else None  # type: ignore[return-value]


def _copied(node: Node) -> tuple[Node, int]:
    """Return what a concatenation along the last of four axes has copies of, and how many; itself of any other step."""
    if node.target is not aten.cat.default or given(node)["dim"] % len(shape_of(node)) != MAP - 1:
        return node, 1
    parts = [_copied(part) for part in node.args[0]]  # type: ignore[union-attr,arg-type]
    sources = {source for source, _ in parts}
    return (sources.pop(), sum(count for _, count in parts)) if len(sources) == 1 else (node, 1)
