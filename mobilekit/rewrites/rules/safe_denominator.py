"""Denominators kept above a floor."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Site
from mobilekit.rewrites.fx.graph import node_named, path_of, shape_of
from mobilekit.rewrites.fx.ops import DIVIDE, insert_call, operands
from mobilekit.rewrites.fx.sign import lower_bound
from mobilekit.rewrites.sites import SiteOptions, SiteRewrite


class SafeDenominatorOptions(SiteOptions):
    """Parameters of `safe-denominator`."""

    floor: Annotated[float, Field(gt=0)] = Field(
        2.0**-14, description="Least value of a denominator; the default is float16's least normal number."
    )


class SafeDenominator(SiteRewrite[SafeDenominatorOptions]):
    """Approximate: n / max(d, floor) for n / d, of a denominator d that is never negative.

    The quotient is the same wherever d >= floor. Below, it is multiplied by d / floor: it shrinks towards 0, by no more
    than |n| (1 / d - 1 / floor). Linear attention adds 1e-15 or 1e-5 to a denominator that is 0 where ReLU leaves
    nothing of a query; in float16 1e-15 is 0, and 0 / 0 is not a number.
    """

    name = "safe-denominator"
    exactness = Exactness.APPROXIMATE
    summary = "Denominators that are never negative kept above a floor that float16 has"
    experimental = (
        "In EfficientViT it keeps the quotients finite on GPUs whose float16 has no subnormal numbers; right "
        "where `mobilekit ranges` warns of a denominator."
    )
    options_type = SafeDenominatorOptions

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the divisions by a computed tensor."""
        return [
            Site(node.name, path_of(node), f"quotients are the same where the denominator is {self.options.floor:g}")
            for node in graph.graph.nodes
            if _denominator(graph, node) is not None
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse a denominator that may be negative, and one that is never below the floor."""
        denominator = _denominator(graph, node_named(graph, site.node))
        bound = lower_bound(graph, denominator)
        if bound is None or bound < 0:
            return "its denominator may be negative, and a floor would change its sign"
        if bound >= self.options.floor:
            return f"its denominator is never below {bound:g}"
        return super().why_not(graph, site)

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Clamp the denominator."""
        node = node_named(graph, site.node)
        denominator = _denominator(graph, node)
        assert denominator is not None
        clamped = insert_call(node, torch.ops.aten.clamp.default, denominator, self.options.floor, None)
        clamped.meta = dict(denominator.meta)
        node.replace_input_with(denominator, clamped)


def _denominator(graph: GraphModule, node: Node) -> Node | None:
    both = operands(graph, node, DIVIDE)
    if both is None or not isinstance(both[1], Node) or shape_of(both[1]) is None:
        return None
    return both[1]
