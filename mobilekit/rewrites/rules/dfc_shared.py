"""DFC's shift-invariant linear maps as the 1xK and Kx1 depthwise convolutions that the paper recommends."""

from __future__ import annotations

from torch import nn
from torch.fx import GraphModule

from mobilekit.models.dfc import SharedFullyConnected
from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import module_of, node_named
from mobilekit.rewrites.shared.dfc import depthwise_along


class DFCShared(Rewrite[Options]):
    """Exact: a banded Toeplitz matrix is a convolution with zero padding, borders included, at every size.

    Source: GhostNetV2, arXiv 2211.12905, section 4.2.
    """

    name = "dfc-shared"
    exactness = Exactness.EXACT
    summary = "DFC attention with shared weights: fully connected maps to 1xK and Kx1 depthwise convolutions"

    def find(self, graph: GraphModule) -> list[Site]:
        """Return DFC's maps with shared weights."""
        return [
            Site(node.name, str(node.target))
            for node in graph.graph.nodes
            if isinstance(module_of(graph, node), SharedFullyConnected)
        ]

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Put the convolution in the map's place."""
        module = module_of(graph, node_named(graph, site.node))
        if isinstance(module, nn.Conv2d):
            return  # the model calls the map more than once, and the first site has replaced it
        assert isinstance(module, SharedFullyConnected)
        graph.set_submodule(site.path, depthwise_along(module.axis, module.weight))
