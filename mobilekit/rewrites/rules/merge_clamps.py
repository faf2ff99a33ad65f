"""Clamps and ReLUs in a row as one."""

from __future__ import annotations

from math import inf

import torch
from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of
from mobilekit.rewrites.fx.ops import CLAMP, RELU, arguments, insert_call, is_call, number, value_users

aten = torch.ops.aten
Bounds = tuple[float, float]


class MergeClamps(Rewrite[Options]):
    """Exact: min(max(x, a), b) never falls as x grows, so what clamps it again acts on a and b as it does on x.

    From 0 to another bound than 6 it is a ReLU and a minimum: TFLite has no op for both, and a convolution takes the
    ReLU in.
    """

    name = "merge-clamps"
    exactness = Exactness.EXACT_WHEN
    summary = "Clamps and ReLUs in a row as one; from 0 to another bound than 6 as a ReLU and a minimum"

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the last of each row, and each single one that is better written as two."""
        return [
            Site(row[-1].name, path_of(row[-1]))
            for row in _rows(graph)
            if _before(graph, row[0]) or [_bounds(graph, node) for node in row] != _parts(_merged(graph, row))
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse one after a clamp that others read as well: both are needed."""
        row = _row(graph, node_named(graph, site.node))
        before = _before(graph, row[0])
        if before and [_bounds(graph, node) for node in row] == _parts(_merged(graph, row)):
            return f"others read {before.name} before it as well"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Put as few as do the same there."""
        last = node_named(graph, site.node)
        row = _row(graph, last)
        value = input_node(row[0])
        for least, most in _parts(_merged(graph, row)):
            if (least, most) == (0, inf):
                value = insert_call(last, aten.relu.default, value)
            else:
                bounds = (None if abs(bound) == inf else bound for bound in (least, most))
                value = insert_call(last, aten.clamp.default, value, *bounds)
            value.meta = dict(last.meta)
        last.replace_all_uses_with(value)
        for node in reversed(row):
            graph.graph.erase_node(node)


def _rows(graph: GraphModule) -> list[list[Node]]:
    """Return all rows of clamps of which each alone reads the one before."""
    lasts = [node for node in graph.graph.nodes if _bounds(graph, node) and not _only_read_by_clamp(graph, node)]
    return [_row(graph, node) for node in lasts]


def _row(graph: GraphModule, last: Node) -> list[Node]:
    row = [last]
    while (before := _before(graph, row[0])) and _only_read_by_clamp(graph, before):
        row.insert(0, before)
    return row


def _before(graph: GraphModule, node: Node) -> Node | None:
    """Return the clamp that a clamp reads."""
    source = input_node(node)
    return source if _bounds(graph, source) else None


def _only_read_by_clamp(graph: GraphModule, node: Node) -> bool:
    users = value_users(graph, node)
    return len(users) == len(node.users) == 1 and _bounds(graph, users[0]) is not None


def _bounds(graph: GraphModule, node: Node) -> Bounds | None:
    """Return the bounds of a ReLU, or of a clamp by numbers; None for anything else."""
    if is_call(graph, node, RELU):
        return 0.0, inf
    if not is_call(graph, node, CLAMP):
        return None
    given = arguments(graph, node)
    bounds = [free if given[name] is None else number(given[name]) for name, free in (("min", -inf), ("max", inf))]
    if None in bounds:
        return None
    least, most = float(bounds[0] or 0), float(bounds[1] or 0)
    return min(least, most), most  # where they are the wrong way round, PyTorch gives the second


def _merged(graph: GraphModule, row: list[Node]) -> Bounds:
    """Return the bounds of one clamp that does what a row does: each moves those of what is before it."""
    merged = (-inf, inf)
    for node in row:
        bounds = _bounds(graph, node)
        assert bounds
        least, most = (min(max(bound, bounds[0]), bounds[1]) for bound in merged)
        merged = (least, most)
    return merged


def _parts(bounds: Bounds) -> list[Bounds]:
    """Return the clamps that one is best written as."""
    least, most = bounds
    return [(0.0, inf), (-inf, most)] if least == 0 and most not in (0, 6, inf) else [bounds]
