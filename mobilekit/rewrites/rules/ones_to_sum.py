"""A row or column of ones, with which attention sums its keys, as the sum itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of, shape_of
from mobilekit.rewrites.fx.ops import MATRIX_PRODUCT, PAD, SLICE, arguments, is_call, operands, value_users

aten = torch.ops.aten


@dataclass(frozen=True)
class _Chain:
    """Ones padded to the end of one axis, and the products through which they go."""

    axis: int
    """-1: a column of ones, multiplied from the left; -2: a row of ones, multiplied from the right."""
    factors: tuple[Any, ...]
    """The other matrix of each product."""
    end: Node
    """The last product."""


class OnesToSum(Rewrite[Options]):
    """Exact: A [V 1] = [A V, A 1], and A 1 is the sum of A over its columns.

    Linear attention is often written with a column of ones beside the values, so that one product gives numerator and
    denominator. TFLite pads it with PADV2, which 16-bit activations and some delegates do not take, and an int8 tensor
    that holds both has one scale for both.
    """

    name = "ones-to-sum"
    exactness = Exactness.EXACT_WHEN
    summary = "Values padded with ones, in linear attention, to an explicit sum over the keys"
    experimental = (
        "No site in the models that come with mobilekit; right for linear attention that pads its values with "
        "ones, where a delegate does not take PADV2."
    )

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the paddings by one row or column of ones that a matrix product takes."""
        return [
            Site(node.name, path_of(node))
            for node in graph.graph.nodes
            if (axis := _axis(graph, node)) and _step(graph, node, axis)
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse where numerator and denominator are not taken apart again."""
        chain = _chain(graph, node_named(graph, site.node))
        if any(_part(graph, user, chain) is None for user in value_users(graph, chain.end)):
            return f"{chain.end.name} is used as a whole"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Multiply values and ones apart."""
        node = node_named(graph, site.node)
        chain = _chain(graph, node)
        with graph.graph.inserting_before(chain.end):
            main, total = input_node(node), None
            for factor in chain.factors:
                main = _multiply(graph, chain, factor, main)
                total = (
                    graph.graph.call_function(aten.sum.dim_IntList, (factor, [chain.axis], True))
                    if total is None
                    else _multiply(graph, chain, factor, total)
                )
        assert total is not None
        for user in value_users(graph, chain.end):
            user.replace_all_uses_with(main if _part(graph, user, chain) == "main" else total)
            graph.graph.erase_node(user)
        for made in (main, total):
            made.meta = {**chain.end.meta, "tensor_meta": None}
        graph.graph.eliminate_dead_code()


def _axis(graph: GraphModule, node: Node) -> int | None:
    """Return the axis to whose end a node adds one row or column of ones; None where it does something else."""
    if not is_call(graph, node, PAD):
        return None
    given = arguments(graph, node)
    if given["mode"] != "constant" or given["value"] != 1:
        return None
    pad = given["pad"]
    return {(0, 1): -1, (0, 1, 0, 0): -1, (0, 0, 0, 1): -2}.get(tuple(pad)) if isinstance(pad, tuple | list) else None


def _step(graph: GraphModule, node: Node, axis: int) -> tuple[Node, Any] | None:
    """Return the one product that takes a padded matrix and keeps the ones apart, and its other factor."""
    users = value_users(graph, node)
    both = operands(graph, users[0], MATRIX_PRODUCT) if len(users) == 1 else None
    if both is None:
        return None
    factor, padded = both if axis == -1 else both[::-1]
    return (users[0], factor) if padded is node and factor is not node else None


def _chain(graph: GraphModule, node: Node) -> _Chain:
    """Follow the ones through as many products as keep them apart."""
    axis, factors = _axis(graph, node), []
    assert axis is not None
    while step := _step(graph, node, axis):
        node, factor = step
        factors.append(factor)
    return _Chain(axis, tuple(factors), node)


def _multiply(graph: GraphModule, chain: _Chain, factor: Any, matrix: Any) -> Node:
    pair = (factor, matrix) if chain.axis == -1 else (matrix, factor)
    return graph.graph.call_function(aten.matmul.default, pair)


def _part(graph: GraphModule, node: Node, chain: _Chain) -> str | None:
    """Return whether a slice takes all but the last row or column of the products, or that one; None for all else."""
    shape = shape_of(chain.end)
    if not is_call(graph, node, SLICE) or shape is None:
        return None
    given = arguments(graph, node)
    if given["dim"] % len(shape) != len(shape) + chain.axis:
        return None
    length = shape[chain.axis]
    bounds = slice(given["start"], given["end"], given["step"]).indices(length)
    return {(0, length - 1, 1): "main", (length - 1, length, 1): "total"}.get(bounds)
