"""The padding of a max pool as zeros, where its input is never negative."""

from __future__ import annotations

import torch
from torch.fx import GraphModule
from torch.nn import functional as F

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of
from mobilekit.rewrites.fx.lowered import Lowered
from mobilekit.rewrites.fx.ops import MAX_POOL, arguments, is_call, pair, replace_by_module
from mobilekit.rewrites.fx.sign import is_nonnegative


class MaxPoolPadding(Rewrite[Options]):
    """Exact where no value is negative: a zero is then no larger than any, as the -inf that pads a max pool.

    TFLite pads with -inf through PADV2, which XNNPACK leaves; zeros are concatenated instead, and only on the sides
    that a window reaches. (Converters fold a plain padding with zeros back into the pool.)
    """

    name = "max-pool-padding"
    exactness = Exactness.EXACT_WHEN
    summary = "Padding of max pools after a ReLU by zeros instead of -inf"

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the padded max pools."""
        return [
            Site(node.name, path_of(node))
            for node in graph.graph.nodes
            if is_call(graph, node, MAX_POOL) and any(pair(arguments(graph, node)["padding"]))
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse an input that may be negative, and windows that are not plain."""
        node = node_named(graph, site.node)
        given = arguments(graph, node)
        if given["ceil_mode"] or pair(given["dilation"]) != (1, 1):
            return "its windows have gaps, or reach past the padding"
        if not is_nonnegative(graph, input_node(node)):
            return "its input may be negative, and zero is then larger"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Put a pool of concatenated zeros there."""
        node = node_named(graph, site.node)
        given = arguments(graph, node)
        kernel, padding = pair(given["kernel_size"]), pair(given["padding"])
        stride = pair(given["stride"]) if given["stride"] else kernel
        replace_by_module(graph, node, ZeroPaddedMaxPool(kernel, stride, padding), input_node(node))


class ZeroPaddedMaxPool(Lowered):
    """Max pool of (N, C, H, W), padded with zeros."""

    def __init__(self, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride
        self.padding = padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the maxima."""
        for axis, kernel, stride, padding in zip((2, 3), self.kernel, self.stride, self.padding, strict=True):
            length = int(x.shape[axis])
            steps = (length + 2 * padding - kernel) // stride
            after = max(0, steps * stride + kernel - length - padding)
            parts = [_zeros(x, axis, padding), x, _zeros(x, axis, after)]
            x = torch.cat([part for part in parts if part.shape[axis]], axis)
        return F.max_pool2d(x, self.kernel, self.stride)


def _zeros(x: torch.Tensor, axis: int, count: int) -> torch.Tensor:
    shape = [count if each == axis else int(length) for each, length in enumerate(x.shape)]
    return x.new_zeros(shape)
