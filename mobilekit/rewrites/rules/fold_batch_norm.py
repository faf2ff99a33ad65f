"""Batch norm folded backward into the convolution or linear layer before it."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.fx import GraphModule

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import calls_of, input_node, module_of, node_named, shape_of
from mobilekit.rewrites.fx.ops import value_users
from mobilekit.rewrites.fx.scale import LINEAR, Linear
from mobilekit.rewrites.shared.norms import BatchNorm, scale_and_shift

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class FoldBatchNorm(Rewrite[Options]):
    """Exact: scale and shift after a linear layer are a scaling of its weights and a bias.

    The layer may be a convolution of one to three axes, depthwise, grouped or dense, a transposed one, or linear. Only
    backward: folding into the convolution that follows is wrong at the borders of a padded one.
    """

    name = "fold-batch-norm"
    exactness = Exactness.EXACT_WHEN
    summary = "Batch norm into the convolution or linear layer before it"

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the batch norms."""
        return [
            Site(node.name, str(node.target))
            for node in graph.graph.nodes
            if isinstance(module_of(graph, node), _NORMS)
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse where there is no layer to fold into, or where others see that layer's output."""
        node = node_named(graph, site.node)
        norm, source = module_of(graph, node), input_node(node)
        layer = module_of(graph, source)
        assert isinstance(norm, _NORMS)
        if not isinstance(layer, LINEAR):
            what = type(layer).__name__ if layer else source.name
            return f"what comes before is {what}, not a convolution or linear layer"
        shape = shape_of(source)
        if isinstance(layer, nn.Linear) and (shape is None or len(shape) != 2):
            return f"the output of {source.target} is not (N, C), so the batch norm works along another axis"
        if len(value_users(graph, source)) > 1:
            return f"the output of {source.target} is used elsewhere too"
        if calls_of(graph, str(source.target)) > 1 or calls_of(graph, site.path) > 1:
            return f"{source.target} or the batch norm is called more than once"
        if norm.running_mean is None:
            return "the batch norm keeps no statistics, so it depends on the batch"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Fold, and let the layer's output stand for the batch norm's."""
        node = node_named(graph, site.node)
        norm, source = module_of(graph, node), input_node(node)
        layer = module_of(graph, source)
        assert isinstance(norm, _NORMS)
        assert isinstance(layer, LINEAR)
        graph.set_submodule(str(source.target), _fold(layer, norm))
        node.replace_all_uses_with(source)
        graph.graph.erase_node(node)


def _fold(layer: Linear, norm: BatchNorm) -> nn.Module:
    """Return a layer that computes scale (W x + b) + shift, with the batch norm's scale and shift."""
    scale, shift = scale_and_shift(norm)
    with torch.no_grad():
        folded = copy.deepcopy(layer)
        folded.weight = nn.Parameter(_scaled(layer, scale))
        folded.bias = nn.Parameter(shift if layer.bias is None else layer.bias * scale + shift)
    return folded


def _scaled(layer: Linear, scale: torch.Tensor) -> torch.Tensor:
    """Return the weights with each output channel multiplied by its scale."""
    weight = layer.weight
    if not isinstance(layer, nn.ConvTranspose2d):
        return weight * scale.view(-1, *[1] * (weight.ndim - 1))
    by_group = weight.view(layer.groups, -1, *weight.shape[1:]) * scale.view(layer.groups, 1, -1, 1, 1)
    return by_group.view(weight.shape)
