"""Batch norm folded backward into the convolution or linear layer before it."""

from __future__ import annotations

import torch
from torch import nn
from torch.fx import GraphModule
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.graph import calls_of, input_node, module_of, node_named, shape_of

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class FoldBatchNorm(Rewrite[Options]):
    """Exact: scale and shift after a linear layer are a scaling of its weights and a bias.

    Only backward: folding into the convolution that follows is wrong at the borders of a padded one.
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
        assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            what = type(layer).__name__ if layer else source.name
            return f"what comes before is {what}, not a convolution or linear layer"
        shape = shape_of(source)
        if isinstance(layer, nn.Linear) and (shape is None or len(shape) != 2):
            return f"the output of {source.target} is not (N, C), so the batch norm works along another axis"
        if len(source.users) > 1:
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
        assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
        fused: nn.Module
        if isinstance(layer, nn.Conv2d):
            fused = fuse_conv_bn_eval(layer, norm)
        else:
            assert isinstance(layer, nn.Linear)
            _make_affine(norm)
            fused = fuse_linear_bn_eval(layer, norm)
        graph.set_submodule(str(source.target), fused)
        node.replace_all_uses_with(source)
        graph.graph.erase_node(node)


def _make_affine(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    """Give a batch norm without scale and shift those that change nothing; torch cannot fold it without."""
    assert norm.running_mean is not None
    if norm.weight is None:
        norm.weight = nn.Parameter(torch.ones_like(norm.running_mean))
    if norm.bias is None:
        norm.bias = nn.Parameter(torch.zeros_like(norm.running_mean))
