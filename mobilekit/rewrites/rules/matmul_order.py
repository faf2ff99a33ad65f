"""The order in which three matrices are multiplied: linear attention's whole point."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import node_named, path_of, shape_of
from mobilekit.rewrites.fx.ops import MATRIX_PRODUCT, insert_call, operands, replace_call, value_users


@dataclass(frozen=True)
class _Triple:
    """A product of three matrices, of which two are multiplied first, in `inner`."""

    a: Node
    b: Node
    c: Node
    inner: Node
    is_left_first: bool

    def macs(self, left_first: bool) -> int:
        """Return the multiply-accumulates of (A B) C, or of A (B C)."""
        a, b, c = (shape_of(each) or () for each in (self.a, self.b, self.c))
        pairs = [(a, b), (_product(a, b), c)] if left_first else [(b, c), (a, _product(b, c))]
        return sum(math.prod(_product(left, right)) * left[-1] for left, right in pairs)

    @property
    def saved(self) -> int:
        """Multiply-accumulates that the other order saves."""
        return self.macs(self.is_left_first) - self.macs(not self.is_left_first)


class MatmulOrder(Rewrite[Options]):
    """Exact: (A B) C = A (B C).

    In attention without softmax (Q K^T) V is quadratic in the number of tokens, and Q (K^T V) is linear. Which is
    cheaper depends on the size of the input; the recipe's decides.
    """

    name = "matmul-order"
    exactness = Exactness.EXACT_WHEN
    summary = "Products of three matrices in the order that costs less, as in linear attention"
    experimental = (
        "Nothing to do in the models that come with mobilekit, whose attention has the cheaper order; right for "
        "attention without softmax that is written the quadratic way."
    )

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the products of a product."""
        triples = {node: _triple(graph, node) for node in graph.graph.nodes}
        return [
            Site(node.name, path_of(node), f"{-triple.saved:+,} MACs") for node, triple in triples.items() if triple
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse where the order is the cheaper one, or others take the inner product."""
        triple = _triple(graph, node_named(graph, site.node))
        assert triple is not None
        if triple.saved <= 0:
            now, other = triple.macs(triple.is_left_first), triple.macs(not triple.is_left_first)
            return f"the present order costs {now:,} MACs, the other {other:,}"
        if len(value_users(graph, triple.inner)) > 1:
            return "the inner product is used elsewhere too"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Multiply the other two first."""
        node = node_named(graph, site.node)
        triple = _triple(graph, node)
        assert triple is not None
        first = (triple.b, triple.c) if triple.is_left_first else (triple.a, triple.b)
        inner = insert_call(node, torch.ops.aten.matmul.default, *first)
        last = (triple.a, inner) if triple.is_left_first else (inner, triple.c)
        replace_call(node, torch.ops.aten.matmul.default, *last)


def _triple(graph: GraphModule, node: Node) -> _Triple | None:
    """Return the matrices of a product of a product; where both factors are products, the split that saves most."""
    both = operands(graph, node, MATRIX_PRODUCT)
    if both is None:
        return None
    triples = []
    for inner, is_left_first in ((both[0], True), (both[1], False)):
        factors = operands(graph, inner, MATRIX_PRODUCT)
        if factors is not None:
            parts = (*factors, both[1]) if is_left_first else (both[0], *factors)
            if all(isinstance(part, Node) and len(shape_of(part) or ()) > 1 for part in parts):
                triples.append(_Triple(*parts, inner, is_left_first))
    return max(triples, key=lambda triple: triple.saved, default=None)


def _product(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a matrix product."""
    batch = torch.broadcast_shapes(left[:-2], right[:-2])  # type: ignore[no-untyped-call]
    return (*batch, left[-2], right[-1])
