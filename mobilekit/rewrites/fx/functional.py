"""A graph whose calls change nothing in place."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from mobilekit.rewrites.fx.refusals import changes_in_place
from mobilekit.rewrites.fx.scatter import written_back

aten = torch.ops.aten


def make_functional(graph: GraphModule) -> None:
    """Turn each `op_(x)` into `op(x)`, and let what reads the memory of x later read the result.

    Raises:
        UsageError: A view is changed whose places in what it is a view of are not known here.
    """
    if any(changes_in_place(node) for node in graph.graph.nodes):
        _Memory(graph).run()
        graph.graph.eliminate_dead_code()


class _Memory:
    """What lies in each tensor's memory as the calls of a graph go by.

    A view is made anew where it is read after its memory was changed. A change of a view is written into what it is a
    view of, and so on to the tensor whose memory it is.
    """

    def __init__(self, graph: GraphModule) -> None:
        self.graph = graph.graph
        self.source: dict[Node, Node] = {}
        """What each view is a view of."""
        self.value: dict[Node, Node] = {}
        """What a tensor holds now, where that is not what it held first."""
        self.changes: dict[Node, int] = {}
        """How often each tensor that is no view was changed."""
        self.seen: dict[Node, int] = {}
        """How many changes are in the value of a view."""
        self.same: dict[Node, Node] = {}
        """The tensor that a call has changed and given back."""

    def run(self) -> None:
        """Go through the calls in their order."""
        for node in list(self.graph.nodes):
            first = self._tensor(node.args[0]) if node.args and isinstance(node.args[0], Node) else None
            with self.graph.inserting_before(node):
                node.args, node.kwargs = map_arg((node.args, node.kwargs), self._now)
                if first is not None and changes_in_place(node):
                    self._write(first, self._called(node))
                    self.same[node] = first
            if first is not None and node not in self.same and shares_memory(node):
                self.source[node] = first
                self.seen[node] = self.changes.get(self._owner(node), 0)
        for node in reversed(self.same):
            self.graph.erase_node(node)

    def _tensor(self, node: Node) -> Node:
        """Return the tensor that a node gives: a call in place gives back what it changes."""
        return self.same.get(node, node)

    def _owner(self, node: Node) -> Node:
        while node in self.source:
            node = self.source[node]
        return node

    def _now(self, node: Node) -> Node:
        """Return the node that has what a tensor holds now."""
        node = self._tensor(node)
        if node not in self.source or self.seen[node] == self.changes.get(self._owner(node), 0):
            return self.value.get(node, node)
        again = self._copied(node, self._now(self.source[node]))
        self.value[node], self.seen[node] = again, self.changes.get(self._owner(node), 0)
        return again

    def _copied(self, view: Node, source: Node) -> Node:
        target: Any = view.target
        args = map_arg(view.args[1:], self._now)
        again = self.graph.call_function(target, (source, *args), view.kwargs)
        again.meta = dict(view.meta)
        return again

    def _write(self, node: Node, new: Node) -> None:
        """Put a value into a tensor, and into all that it is a view of."""
        chain = [(node, new)]
        while node in self.source:
            view, node = node, self.source[node]
            if view.target is operator.getitem:  # one of the parts of a split
                new, node = self._joined(view, new), self.source[node]
            else:
                new = written_back(self.graph, self._now(node), view, new)
            new.meta = dict(node.meta)
            chain.append((node, new))
        self.changes[node] = self.changes.get(node, 0) + 1
        for one, value in chain:
            self.value[one], self.seen[one] = value, self.changes[node]

    def _joined(self, part: Node, new: Node) -> Node:
        """Return what was split, with another part in the place of one."""
        split, index = self.source[part], part.args[1]
        pieces: list[Any] = []
        for place in range(len(split.meta["val"])):
            piece = self.graph.call_function(operator.getitem, (self._now(split), place))
            piece.meta = {**part.meta, "val": split.meta["val"][place]}
            pieces.append(new if place == index else piece)
        places = {"chunk": 2, "split": 2, "split_with_sizes": 2, "unbind": 1, "tensor_split": 2}
        place = places[str(split.target).split(".")[1]]
        axis = split.args[place] if len(split.args) > place else split.kwargs.get("dim", 0)
        return self.graph.call_function(aten.cat.default, (pieces, axis))

    def _called(self, node: Node) -> Node:
        """Return the call that makes what a call in place puts into its first argument."""
        changed, *others = node.args
        target, args = _functional(node, changed, others)
        name = node.name.rstrip("_")
        new = self.graph.create_node("call_function", target, args, node.kwargs, name=name)
        new.meta = dict(node.meta)
        return new


def _functional(node: Node, changed: Any, others: list[Any]) -> tuple[Any, tuple[Any, ...]]:
    """Return the operator and arguments that give what a call in place leaves in its first argument."""
    target: Any = node.target
    if target is aten.copy_.default:
        return aten.expand_as.default, (others[0], changed)
    if target is aten.zero_.default:
        return aten.zeros_like.default, (changed,)
    if target is aten.fill_.Scalar:
        return aten.full_like.default, (changed, *others)
    packet = getattr(aten, target._schema.name.split("::")[1].removesuffix("_"))
    return getattr(packet, target._overloadname), (changed, *others)


def shares_memory(node: Node) -> bool:
    """Return whether what a call makes lies in the memory of its first argument, as it did when it was exported."""
    if node.op != "call_function" or not node.all_input_nodes:
        return False
    made, given = _memory(node), _memory(node.all_input_nodes[0])
    return bool(made & given)


def _memory(node: Node) -> set[int]:
    value = node.meta.get("val")
    tensors = value if isinstance(value, list | tuple) else [value]
    return {one.untyped_storage()._cdata for one in tensors if isinstance(one, torch.Tensor)}
