"""Upsampling by another rule: another function, for models whose training can bear it."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch.fx import GraphModule

from mobilekit.rewrites.base import Exactness, Site
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of, shape_of
from mobilekit.rewrites.fx.ops import INTERPOLATE, arguments, is_call, replace_call
from mobilekit.rewrites.sites import SiteOptions, SiteRewrite


class UpsampleModeOptions(SiteOptions):
    """Parameters of `upsample-mode`."""

    to: Literal["nearest", "bilinear"] = Field("nearest", description="The mode that all sites get.")


class UpsampleMode(SiteRewrite[UpsampleModeOptions]):
    """Approximate: a nearest upsample repeats values where a bilinear one mixes neighbors.

    GhostNetV2's paper and MindSpore code have the gate bilinear, its PyTorch code and weights nearest. XNNPACK has a
    bilinear resize and no nearest one; `upsample-broadcast` gives a nearest one what it needs, at less than either.
    """

    name = "upsample-mode"
    exactness = Exactness.APPROXIMATE
    summary = "Bilinear upsampling to nearest, or nearest to bilinear (half-pixel centers)"
    experimental = (
        "In the digits' GhostNetV2 bilinear for nearest drifts by 0.11 and takes 0.6 points of top-1, nearest for "
        "bilinear 0.07 and 0.3, which training brings back; right where a device has a kernel for one of the two."
    )
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
        size, scale = given["size"], given["scale_factor"]
        if self.options.to == "bilinear":
            replace_call(node, torch.ops.aten.upsample_bilinear2d.vec, input_node(node), size, False, scale)
        else:
            replace_call(node, torch.ops.aten.upsample_nearest2d.vec, input_node(node), size, scale)
