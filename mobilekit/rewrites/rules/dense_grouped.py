"""Grouped convolutions as dense ones whose weights are zero between groups, and back."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import nn
from torch.fx import GraphModule

from mobilekit.rewrites.base import Exactness, Site
from mobilekit.rewrites.fx.graph import module_of, node_named
from mobilekit.rewrites.shared.convolutions import dense_macs, dense_weight, is_grouped, macs_of, with_weights
from mobilekit.rewrites.sites import SiteOptions, SiteRewrite


class DenseGroupedOptions(SiteOptions):
    """Parameters of `dense-grouped`."""

    to: Literal["dense", "grouped"] = Field(
        "dense", description="Grouped convolutions to dense ones, or dense ones with blocks of zeros to grouped ones."
    )


class DenseGrouped(SiteRewrite[DenseGroupedOptions]):
    """Exact: a convolution with g groups is a dense one of g times the weights, all but 1/g of them zero.

    It costs g times the multiply-accumulates, and spares runtimes without grouped kernels a split into g convolutions.
    """

    name = "dense-grouped"
    exactness = Exactness.EXACT_WHEN
    summary = "Grouped convolutions to dense ones with zeros between the groups, or back"
    experimental = (
        "On x86 slower in ShuffleNet, at up to three times the arithmetic; right for runtimes without grouped "
        "kernels, and where `mobilekit tune` measures it faster."
    )
    options_type = DenseGroupedOptions

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the grouped convolutions, depthwise ones left out; or the dense ones that have such zeros."""
        sites = []
        for node in graph.graph.nodes:
            conv = module_of(graph, node)
            if not isinstance(conv, nn.Conv2d):
                continue
            if self.options.to == "dense" and is_grouped(conv):
                sites.append(Site(node.name, str(node.target), f"{dense_macs(node, conv):+,} MACs"))
            elif self.options.to == "grouped" and (groups := hidden_groups(conv)) > 1:
                saved = macs_of(node, conv) * (groups - 1) // groups
                sites.append(Site(node.name, str(node.target), f"{groups} groups, {-saved:+,} MACs"))
        return sites

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Put the other convolution at the path."""
        conv = module_of(graph, node_named(graph, site.node))
        assert isinstance(conv, nn.Conv2d)
        if self.options.to == "dense":
            graph.set_submodule(site.path, with_weights(conv, dense_weight(conv), 1))
        elif (groups := hidden_groups(conv)) > 1:  # else another call of the same module came first
            graph.set_submodule(site.path, with_weights(conv, _blocks(conv, groups), groups))


def hidden_groups(conv: nn.Conv2d) -> int:
    """Return the largest number of groups that a dense convolution's zeros allow; 1 where they allow none."""
    if conv.groups > 1:
        return 1
    used = conv.weight.detach().flatten(2).ne(0).any(2)
    most = math.gcd(*used.shape)
    for groups in (count for count in range(most, 1, -1) if most % count == 0):
        blocks = used.view(groups, used.shape[0] // groups, groups, used.shape[1] // groups).any(3).any(1)
        if not bool((blocks & ~torch.eye(groups, dtype=torch.bool)).any()):
            return groups
    return 1


def _blocks(conv: nn.Conv2d, groups: int) -> torch.Tensor:
    """Return the weights of the grouped convolution, (out, in / groups, kH, kW)."""
    rows = conv.weight.detach().chunk(groups)
    return torch.cat([part.chunk(groups, 1)[index] for index, part in enumerate(rows)])
