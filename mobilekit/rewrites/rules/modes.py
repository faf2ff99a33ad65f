"""Upsampling and pooling by another rule: other functions, for models whose training can bear or take them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch.fx import GraphModule
from torch.nn import functional as F

from mobilekit.rewrites.base import Exactness, Site
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of, shape_of
from mobilekit.rewrites.fx.ops import AVERAGE_POOL, INTERPOLATE, MAX_POOL, arguments, is_call, replace_call
from mobilekit.rewrites.sites import SiteOptions, SiteRewrite


class UpsampleModeOptions(SiteOptions):
    """Parameters of `upsample-mode`."""

    to: Literal["nearest", "bilinear"] = Field("nearest", description="The mode that all sites get.")


class UpsampleMode(SiteRewrite[UpsampleModeOptions]):
    """Approximate: a nearest upsample repeats values where a bilinear one mixes neighbours.

    GhostNetV2's paper and MindSpore code have the gate bilinear, its PyTorch code and weights nearest. XNNPACK has a
    bilinear resize and no nearest one; `upsample-broadcast` gives a nearest one what it needs, at less than either.
    """

    name = "upsample-mode"
    exactness = Exactness.APPROXIMATE
    summary = "Bilinear upsampling to nearest, or nearest to bilinear (half-pixel centres)"
    options_type = UpsampleModeOptions

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the upsamplings of the other mode."""
        other = "bilinear" if self.options.to == "nearest" else "nearest"
        return [
            Site(node.name, path_of(node))
            for node in graph.graph.nodes
            if is_call(graph, node, INTERPOLATE) and arguments(graph, node)["mode"] == other
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse what the recipe does not name, and what is no map."""
        shape = shape_of(input_node(node_named(graph, site.node)))
        if shape is None or len(shape) != 4:
            return "its input is not (N, C, H, W)"
        return super().why_not(graph, site)

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Call the other mode with the same size or scale."""
        node = node_named(graph, site.node)
        given = arguments(graph, node)
        kept = {name: given[name] for name in ("size", "scale_factor", "recompute_scale_factor")}
        centres = {"align_corners": False} if self.options.to == "bilinear" else {}
        replace_call(node, F.interpolate, input_node(node), mode=self.options.to, **kept, **centres)


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
    options_type = PoolModeOptions

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the pools of the other kind."""
        other = MAX_POOL if self.options.to == "average" else AVERAGE_POOL
        return [Site(node.name, path_of(node)) for node in graph.graph.nodes if is_call(graph, node, other)]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse windows that the other pool has not, and what the recipe does not name."""
        window = arguments(graph, node_named(graph, site.node))
        if window.get("dilation", 1) not in (1, (1, 1), [1, 1]):
            return "its windows have gaps, which an average pool has not"
        if window.get("return_indices"):
            return "the positions of its maxima are used"
        return super().why_not(graph, site)

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Call the other pool; an average over padding divides by the number of pixels that there are."""
        node = node_named(graph, site.node)
        window = arguments(graph, node)
        kept = {name: window[name] for name in ("kernel_size", "stride", "padding", "ceil_mode")}
        if self.options.to == "max":
            replace_call(node, F.max_pool2d, input_node(node), **kept)
        else:
            replace_call(node, F.avg_pool2d, input_node(node), **kept, count_include_pad=False)
