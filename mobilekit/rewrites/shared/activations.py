"""Activations swapped for cheaper ones: each is another function, and what it costs is measured.

Largest differences of the functions themselves: hard-swish from SiLU 0.142 at +-3, hard-sigmoid from sigmoid 0.069 at
+-1.32, tanh-GELU from GELU 4.7e-4, hard-swish from GELU 0.295 near 1.4.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import nn
from torch.fx import GraphModule, Node
from torch.nn import functional as F

from mobilekit.rewrites.base import Exactness, Site
from mobilekit.rewrites.fx.graph import calls_of, input_node, module_of, node_named, path_of
from mobilekit.rewrites.fx.ops import MULTIPLY, SIGMOID, SILU, is_call, operands, replace_call, works_in_place
from mobilekit.rewrites.sites import SiteOptions, SiteRewrite


class ActivationSwap(SiteRewrite[SiteOptions]):
    """One activation put in another's place, site by site."""

    exactness = Exactness.APPROXIMATE
    options_type = SiteOptions

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the calls of the old activation."""
        return [Site(node.name, path_of(node)) for node in graph.graph.nodes if self._source(graph, node) is not None]

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Put the new activation there: a module for a module of its own, and a function for all else."""
        node = node_named(graph, site.node)
        source = self._source(graph, node)
        assert source is not None
        inplace = works_in_place(graph, node)
        if module_of(graph, node) is not None and calls_of(graph, str(node.target)) == 1:
            graph.set_submodule(str(node.target), self._module(inplace))
        else:
            self._replace(node, source, inplace)

    @abstractmethod
    def _source(self, graph: GraphModule, node: Node) -> Node | None:
        """Return what the old activation is applied to, or None where there is none."""

    @abstractmethod
    def _module(self, inplace: bool) -> nn.Module: ...

    @abstractmethod
    def _replace(self, node: Node, source: Node, inplace: bool) -> Node: ...


class ToHardSwish(ActivationSwap):
    """Hard-Swish in another activation's place."""

    def _module(self, inplace: bool) -> nn.Module:
        return nn.Hardswish(inplace)

    def _replace(self, node: Node, source: Node, inplace: bool) -> Node:
        return replace_call(node, F.hardswish, source, inplace=inplace)


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
    return is_call(graph, node, SIGMOID) and input_node(node) is x and not works_in_place(graph, node)
