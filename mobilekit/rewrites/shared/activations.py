"""Activations swapped for cheaper ones: each is another function, and what it costs is measured.

Largest differences of the functions themselves: hard-swish from SiLU 0.142 at +-3, hard-sigmoid from sigmoid 0.069 at
+-1.32, tanh-GELU from GELU 4.7e-4, hard-swish from GELU 0.295 near 1.4.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Site
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of
from mobilekit.rewrites.fx.ops import MULTIPLY, SIGMOID, SILU, is_call, operands, replace_call
from mobilekit.rewrites.sites import SiteOptions, SiteRewrite

aten = torch.ops.aten


class ActivationSwap(SiteRewrite[SiteOptions]):
    """One activation put in another's place, site by site."""

    exactness = Exactness.APPROXIMATE
    options_type = SiteOptions

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the calls of the old activation."""
        return [Site(node.name, path_of(node)) for node in graph.graph.nodes if self._source(graph, node) is not None]

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Put the new activation there."""
        node = node_named(graph, site.node)
        source = self._source(graph, node)
        assert source is not None
        self._replace(node, source)

    @abstractmethod
    def _source(self, graph: GraphModule, node: Node) -> Node | None:
        """Return what the old activation is applied to, or None where there is none."""

    @abstractmethod
    def _replace(self, node: Node, source: Node) -> Node: ...


class ToHardSwish(ActivationSwap):
    """Hard-Swish in another activation's place."""

    def _replace(self, node: Node, source: Node) -> Node:
        return replace_call(node, aten.hardswish.default, source)


def silu_input(graph: GraphModule, node: Node) -> Node | None:
    """Return x where a node is x * sigmoid(x), as a SiLU or written out; None elsewhere."""
    if is_call(graph, node, SILU):
        return input_node(node)
    x, gate = operands(graph, node, MULTIPLY) or (None, None)
    for one, other in ((x, gate), (gate, x)):
        if isinstance(one, Node) and is_sigmoid_of(graph, other, one):
            return one
    return None


def is_sigmoid_of(graph: GraphModule, node: Any, x: Node) -> bool:
    """Return whether a node is sigmoid(x)."""
    return is_call(graph, node, SIGMOID) and input_node(node) is x
