"""Hard-Swish written as a product, gathered into one operation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of
from mobilekit.rewrites.fx.ops import (
    HARD_SIGMOID,
    factors,
    is_call,
    is_close,
    relu6_input,
    replace_call,
    shifted,
)


@dataclass(frozen=True)
class _Product:
    """x ReLU6(x + shift) scale."""

    x: Node
    shift: float
    scale: float

    @property
    def is_hard_swish(self) -> bool:
        return is_close(self.shift, 3.0) and is_close(self.scale, 1 / 6)


class FuseHardSwish(Rewrite[Options]):
    """Exact: x ReLU6(x + 3) / 6, in any order of its factors, and x hardsigmoid(x) are what Hard-Swish is.

    Converters know the module and miss some of these forms; TFLite then has several ops in place of HARD_SWISH.
    """

    name = "fuse-hard-swish"
    exactness = Exactness.EXACT_WHEN
    summary = "x * relu6(x + 3) / 6 and x * hardsigmoid(x) to one Hard-Swish"

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the step of each product at which Hard-Swish is complete; the last, where it never is."""
        chains: dict[Node, list[tuple[Node, _Product]]] = {}  # by the last step
        for node in graph.graph.nodes:
            product = _product(graph, node)
            if product is not None:
                inner = [each for each in node.all_input_nodes if each in chains and each is not product.x]
                before = chains.pop(inner[0]) if inner else []
                chains[node] = [*before, (node, product)]
        sites = []
        for chain in chains.values():
            node, _product_there = next((step for step in chain if step[1].is_hard_swish), chain[-1])
            sites.append(Site(node.name, path_of(node)))
        return sites

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse other constants than 3 and 1/6: that is another function."""
        node = node_named(graph, site.node)
        product = _product(graph, node)
        assert product is not None
        if not is_close(product.shift, 3.0):
            return f"it adds {product.shift:.12g}, not 3"
        if not product.is_hard_swish:
            return f"it multiplies by {product.scale:.12g}, not 1/6"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Put one call there."""
        node = node_named(graph, site.node)
        product = _product(graph, node)
        assert product is not None
        replace_call(node, torch.ops.aten.hardswish.default, product.x)


def _product(graph: GraphModule, node: Node) -> _Product | None:
    """Return what a node multiplies, if that looks like Hard-Swish."""
    constant, tensors = factors(graph, node)
    if len(tensors) == 2:
        for x, gate in (tensors, tensors[::-1]):
            form = _gate_of(graph, gate, x)
            if form is not None:
                return _Product(x, form[0], form[1] * constant)
    return None


def _gate_of(graph: GraphModule, gate: Any, x: Any) -> tuple[float, float] | None:
    """Return a and b where a gate is ReLU6(x + a) b."""
    if is_call(graph, gate, HARD_SIGMOID):
        return (3.0, 1 / 6) if input_node(gate) is x else None
    inside = shifted(graph, relu6_input(graph, gate))
    return (inside[1], 1.0) if inside is not None and inside[0] is x else None
