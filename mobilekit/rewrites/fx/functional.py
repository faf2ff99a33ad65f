"""A graph whose calls change nothing in place."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node

from mobilekit.rewrites.fx.refusals import is_view, refused_change

aten = torch.ops.aten


def make_functional(graph: GraphModule) -> None:
    """Turn each `op_(x)` into `op(x)`, and let what reads x later read the result.

    Where x shares its memory with another value, by a view, the change is carried over to what is read of either, which
    is done for what a change through a view means: `y = x[:, :2]; y += 1` scatters the new values into x.
    """
    order = {node: place for place, node in enumerate(graph.graph.nodes)}
    for node in list(graph.graph.nodes):
        target = _functional(node.target)
        if target is None:
            continue
        changed = node.args[0]
        assert isinstance(changed, Node)
        with graph.graph.inserting_before(node):
            new = graph.graph.call_function(target, node.args, node.kwargs)
        new.meta = dict(node.meta)
        order[new] = order[node]
        node.replace_all_uses_with(new)
        _take_instead(changed, new, order)
        _carry_to_base(graph, changed, new, order)
        graph.graph.erase_node(node)


def _functional(target: Any) -> Any:
    """Return the operator without the change in place, for one that makes one; None for others."""
    schema = getattr(target, "_schema", None)
    if schema is None or not schema.is_mutable:
        return None
    name = schema.name.split("::")[1]
    if not name.endswith("_") or name.endswith("__"):
        return None  # batch_norm may move its statistics, and does not in evaluation mode
    packet = getattr(aten, name[:-1], None)
    if packet is None or target._overloadname not in packet.overloads():
        return {aten.copy_.default: aten.copy.default, aten.zero_.default: aten.zeros_like.default}.get(target)
    return getattr(packet, target._overloadname)


def _take_instead(changed: Node, new: Node, order: dict[Node, int]) -> None:
    changed.replace_all_uses_with(new, lambda user: user is not new and order.get(user, 1 << 62) > order[new])


def _carry_to_base(graph: GraphModule, changed: Node, new: Node, order: dict[Node, int]) -> None:
    """Write a change of a view into what the view is of, and make views of a changed value anew."""
    later = [user for user in changed.users if is_view(user) and order[user] < order[new]]
    for view in later:
        if any(order.get(user, 1 << 62) > order[new] for user in view.users):
            with graph.graph.inserting_after(new):
                target: Any = view.target
                again = graph.graph.call_function(target, (new, *view.args[1:]), view.kwargs)
            again.meta, order[again] = dict(view.meta), order[new]
            _take_instead_after(view, again, order, order[new])
    if not is_view(changed):
        return
    base = changed.args[0]
    assert isinstance(base, Node)
    if not any(order.get(user, 1 << 62) > order[new] for user in base.users):
        return
    with graph.graph.inserting_after(new):
        whole = _write_back(graph, base, changed, new)
    whole.meta, order[whole] = dict(base.meta), order[new]
    _take_instead_after(base, whole, order, order[new])
    _carry_to_base(graph, base, whole, order)


def _take_instead_after(old: Node, new: Node, order: dict[Node, int], place: int) -> None:
    old.replace_all_uses_with(new, lambda user: user is not new and order.get(user, 1 << 62) > place)


def _write_back(graph: GraphModule, base: Node, view: Node, new: Node) -> Node:
    """Return base with the values of `new` where `view` takes its own from.

    Raises:
        UsageError: It is a view whose places are not known here.
    """
    target: Any = view.target
    if target is aten.slice.Tensor:
        return graph.graph.call_function(aten.slice_scatter.default, (base, new, *view.args[1:]), view.kwargs)
    if target is aten.select.int:
        return graph.graph.call_function(aten.select_scatter.default, (base, new, *view.args[1:]), view.kwargs)
    if target in (
        aten.view.default,
        aten.reshape.default,
        aten.unsqueeze.default,
        aten.squeeze.dim,
        aten.flatten.using_ints,
    ):
        shape = list(base.meta["val"].shape)
        if all(isinstance(size, int) for size in shape):
            return graph.graph.call_function(aten.reshape.default, (new, shape))
    if target is aten.transpose.int:
        return graph.graph.call_function(target, (new, *view.args[1:]))
    if target is aten.permute.default:
        dims: Any = view.args[1]
        axes = [dim % len(dims) for dim in dims]
        return graph.graph.call_function(target, (new, [axes.index(axis) for axis in range(len(axes))]))
    raise refused_change(view)
