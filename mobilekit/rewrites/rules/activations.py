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
from mobilekit.rewrites.fx.ops import (
    GELU,
    MULTIPLY,
    SIGMOID,
    SILU,
    arguments,
    is_call,
    operands,
    replace_call,
    works_in_place,
)
from mobilekit.rewrites.sites import SiteOptions, SiteRewrite


class _Swap(SiteRewrite[SiteOptions]):
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


class HardSwish(_Swap):
    """Approximate: x ReLU6(x + 3) / 6 for x sigmoid(x), whose exponential phones and int8 have no cheap form for.

    Source: MobileNetV3, arXiv 1905.02244, section 5.2.
    """

    name = "hard-swish"
    summary = "SiLU (Swish), also written as x * sigmoid(x), to Hard-Swish"

    def _source(self, graph: GraphModule, node: Node) -> Node | None:
        return silu_input(graph, node)

    def _module(self, inplace: bool) -> nn.Module:
        return nn.Hardswish(inplace)

    def _replace(self, node: Node, source: Node, inplace: bool) -> Node:
        return replace_call(node, F.hardswish, source, inplace=inplace)


class GeluHardSwish(HardSwish):
    """Approximate: Hard-Swish for GELU, which TFLite computes with several ops where it has none for erf."""

    name = "gelu-hard-swish"
    summary = "GELU to Hard-Swish"

    def _source(self, graph: GraphModule, node: Node) -> Node | None:
        return input_node(node) if is_call(graph, node, GELU) else None


class TanhGelu(_Swap):
    """Approximate: GELU's tanh form, 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), for its erf form.

    Source: Gaussian Error Linear Units, arXiv 1606.08415, section 2.
    """

    name = "tanh-gelu"
    summary = "GELU from its erf form to its tanh form"

    def _source(self, graph: GraphModule, node: Node) -> Node | None:
        is_exact = is_call(graph, node, GELU) and arguments(graph, node)["approximate"] == "none"
        return input_node(node) if is_exact else None

    def _module(self, inplace: bool) -> nn.Module:
        return nn.GELU(approximate="tanh")

    def _replace(self, node: Node, source: Node, inplace: bool) -> Node:
        return replace_call(node, F.gelu, source, approximate="tanh")


class HardSigmoid(_Swap):
    """Approximate: ReLU6(x + 3) / 6 for sigmoid(x). A SiLU's sigmoid is left to `hard-swish`.

    Source: MobileNetV3, arXiv 1905.02244, section 5.2.
    """

    name = "hard-sigmoid"
    summary = "Sigmoid gates to hard-sigmoid"

    def _source(self, graph: GraphModule, node: Node) -> Node | None:
        if not is_call(graph, node, SIGMOID) or any(silu_input(graph, user) for user in node.users):
            return None
        return input_node(node)

    def _module(self, inplace: bool) -> nn.Module:
        return nn.Hardsigmoid(inplace)

    def _replace(self, node: Node, source: Node, inplace: bool) -> Node:
        return replace_call(node, F.hardsigmoid, source, inplace=inplace)


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
