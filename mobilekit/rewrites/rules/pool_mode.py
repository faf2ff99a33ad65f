"""Pooling by another rule: another function, for models whose training can take it."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch.fx import GraphModule

from mobilekit.rewrites.base import Exactness, Site
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of
from mobilekit.rewrites.fx.ops import AVERAGE_POOL, MAX_POOL, arguments, is_call, replace_call
from mobilekit.rewrites.sites import SiteOptions, SiteRewrite


class PoolModeOptions(SiteOptions):
    """Parameters of `pool-mode`."""

    to: Literal["average", "max"] = Field("average", description="What all sites compute.")


class PoolMode(SiteRewrite[PoolModeOptions]):
    """Needs retraining: the mean of a window in place of its largest value, or the reverse.

    DFC attention halves its input by an average in all published code, and by a maximum in one text on the paper.
    """

    name = "pool-mode"
    exactness = Exactness.NEEDS_RETRAINING
    summary = "Max pools to average pools of the same windows, or average to max"
    experimental = (
        "In the digits' GhostNetV2 maximum for average takes 0.8 points of top-1 and average for maximum 0.3, "
        "until training brings them back; right for a model that is trained again, on a device that lacks one of "
        "the two."
    )
    options_type = PoolModeOptions

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the pools of the other kind."""
        other = MAX_POOL if self.options.to == "average" else AVERAGE_POOL
        return [Site(node.name, path_of(node)) for node in graph.graph.nodes if is_call(graph, node, other)]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse windows that the other pool has not, and what the recipe does not name."""
        window = arguments(graph, node_named(graph, site.node))
        if window.get("dilation", 1) not in (1, [1, 1]):
            return "its windows have gaps, which an average pool has not"
        return super().why_not(graph, site)

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Call the other pool; an average over padding divides by the number of pixels that there are."""
        node = node_named(graph, site.node)
        window = arguments(graph, node)
        kept = {name: window[name] for name in ("kernel_size", "stride", "padding", "ceil_mode")}
        if self.options.to == "max":
            replace_call(node, torch.ops.aten.max_pool2d.default, input_node(node), **kept)
        else:
            average = torch.ops.aten.avg_pool2d.default
            replace_call(node, average, input_node(node), **kept, count_include_pad=False)
