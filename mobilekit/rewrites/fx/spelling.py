"""One spelling for each operation: what ATen has several operators for becomes the one that rewrites look for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.fx import GraphModule, Node

aten = torch.ops.aten

_LAST = 2**63 - 1
_INDEXED = (aten.slice.Tensor, aten.select.int)

_RENAMED = {
    aten.view.default: aten.reshape.default,
    aten.view_as.default: aten.reshape_as.default,
    aten.multiply.Tensor: aten.mul.Tensor,
    aten.multiply.Scalar: aten.mul.Tensor,
    aten.mul.Scalar: aten.mul.Tensor,
    aten.true_divide.Tensor: aten.div.Tensor,
    aten.true_divide.Scalar: aten.div.Tensor,
    aten.divide.Tensor: aten.div.Tensor,
    aten.div.Scalar: aten.div.Tensor,
    aten.add.Scalar: aten.add.Tensor,
    aten.sub.Scalar: aten.sub.Tensor,
    aten.subtract.Tensor: aten.sub.Tensor,
    aten.concat.default: aten.cat.default,
    aten.concatenate.default: aten.cat.default,
    aten.special_expit.default: aten.sigmoid.default,
    aten.swapaxes.default: aten.transpose.int,
    aten.swapdims.default: aten.transpose.int,
    aten.special_softmax.default: aten.softmax.int,
    aten.moveaxis.int: aten.movedim.int,
}


def one_spelling(graph: GraphModule) -> None:
    """Give each call the operator that rewrites know it by; values stay as they are."""
    for node in graph.graph.nodes:
        if node.op != "call_function":
            continue
        if node.target in _RESHAPED:
            node.target, node.args, node.kwargs = _RESHAPED[node.target](node)
        elif node.target in _RENAMED:
            node.target = _RENAMED[node.target]


def drop_colons(graph: GraphModule) -> None:
    """Drop the slices that are the `:` of an index with more in it: `x[:, 2:]` is one slice then, not two."""
    for node in list(graph.graph.nodes):
        around = [*node.all_input_nodes[:1], *(node.users if len(node.users) == 1 else ())]
        if takes_all(node) and any(other.target in _INDEXED for other in around):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)


def takes_all(node: Node) -> bool:
    """Return whether a node is a slice from the first to the last, however many there are."""
    if node.target is not aten.slice.Tensor or node.kwargs:
        return False
    given: list[Any] = [*node.args[1:], *(0, None, None, 1)[len(node.args) - 1 :]]
    _axis, start, end, step = given
    return bool(start in (0, None) and end in (None, _LAST) and step == 1)


Call = tuple[Any, tuple[Any, ...], dict[str, Any]]


def _clamp(least: Any, most: Any) -> Callable[[Node], Call]:
    """Return what makes a clamp of a call whose bounds are arguments by place, or the constants given."""

    def bound(node: Node, given: Any) -> Any:
        return node.args[given[0]] if isinstance(given, list) and len(node.args) > given[0] else _default(given)

    return lambda node: (aten.clamp.default, (node.args[0], bound(node, least), bound(node, most)), {})


def _default(given: Any) -> Any:
    return given[1] if isinstance(given, list) else given


def _pad(node: Node) -> Call:
    source, sides, *value = node.args
    return aten.pad.default, (source, sides, "constant", value[0] if value else 0), {}


# [place of the argument, its default], or a constant.
_RESHAPED: dict[Any, Callable[[Node], Call]] = {
    aten.relu6.default: _clamp(0, 6),
    aten.hardtanh.default: _clamp([1, -1], [2, 1]),
    aten.clip.default: _clamp([1, None], [2, None]),
    aten.clamp.default: _clamp([1, None], [2, None]),
    aten.clamp_min.default: _clamp([1, None], None),
    aten.clamp_max.default: _clamp(None, [1, None]),
    aten.constant_pad_nd.default: _pad,
    aten.mT.default: lambda node: (aten.transpose.int, (node.args[0], -2, -1), {}),
}
