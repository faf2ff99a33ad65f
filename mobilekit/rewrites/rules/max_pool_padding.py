"""The padding of a max pool, and what its windows reach past, as the values at its edge."""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node
from torch.nn import functional as F

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of, shape_of
from mobilekit.rewrites.fx.lowered import Lowered
from mobilekit.rewrites.fx.ops import MAX_POOL, arguments, is_call, pair, replace_by_module

Pair = tuple[int, int]


class MaxPoolPadding(Rewrite[Options]):
    """Exact: the values at the edge, copied outward, which each window that reaches past the edge has anyway.

    A max pool is padded with -inf. TFLite does that through PADV2, which XNNPACK leaves, and in int8 the lowest float
    becomes the range of the map: the file cannot be opened. What is concatenated instead stands only on the sides that
    a window reaches, as it does past the last value in ceil mode. (Zeros behind a ReLU would do as well, but converters
    fold a plain padding with them back into the pool, and MNN leaves constants out of a CONCATENATION.)
    """

    name = "max-pool-padding"
    exactness = Exactness.EXACT_WHEN
    summary = "Padding of max pools, also in ceil mode, by the values at the edge instead of -inf"

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the max pools that are padded, and those in ceil mode."""
        return [
            Site(node.name, path_of(node))
            for node in graph.graph.nodes
            if is_call(graph, node, MAX_POOL) and _reaches_out(arguments(graph, node))
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse windows with gaps, which need not have the edge, and a padding that TFLite has itself."""
        node = node_named(graph, site.node)
        if pair(arguments(graph, node)["dilation"]) != (1, 1):
            return "its windows have gaps"
        if _is_same(node, _pool_of(graph, node)):
            return "TFLite's SAME pads as it does, with nothing"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Put a pool of concatenated values there."""
        node = node_named(graph, site.node)
        replace_by_module(graph, node, _pool_of(graph, node), input_node(node))


def _reaches_out(given: dict[str, object]) -> bool:
    return any(pair(given["padding"])) or bool(given["ceil_mode"])


def _pool_of(graph: GraphModule, node: Node) -> PaddedMaxPool:
    given = arguments(graph, node)
    kernel = pair(given["kernel_size"])
    stride = pair(given["stride"]) if given["stride"] else kernel
    return PaddedMaxPool(kernel, stride, pair(given["padding"]), bool(given["ceil_mode"]))


def _is_same(node: Node, pool: PaddedMaxPool) -> bool:
    """Return whether TFLite's SAME pads the sides that a pool out of ceil mode pads.

    onnx2tf then writes SAME. Source: tensorflow/lite/kernels/padding.h, ComputePaddingWithOffset.
    """
    shape = shape_of(input_node(node))
    assert shape is not None
    for length, kernel, stride, padding in zip(shape[-2:], pool.kernel, pool.stride, pool.padding, strict=True):
        needed = max(0, (-(-length // stride) - 1) * stride + kernel - length)
        if pool.ceil_mode or (needed // 2, needed - needed // 2) != (padding, padding):
            return False
    return True


class PaddedMaxPool(Lowered):
    """Max pool of (N, C, H, W), padded with the values at the edge."""

    def __init__(self, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
        self.ceil_mode = ceil_mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the maxima."""
        for axis, kernel, stride, padding in zip((2, 3), self.kernel, self.stride, self.padding, strict=True):
            length = int(x.shape[axis])
            steps = self._steps(length + 2 * padding - kernel, stride, length + padding)
            after = max(0, steps * stride + kernel - length - padding)
            if padding or after:
                first, last = x.narrow(axis, 0, 1), x.narrow(axis, length - 1, 1)
                x = torch.cat([first] * padding + [x] + [last] * after, axis)
        return F.max_pool2d(x, self.kernel, self.stride)

    def _steps(self, room: int, stride: int, end: int) -> int:
        """Return how many steps the windows take; in ceil mode each still starts at a value or before."""
        steps = -(-room // stride) if self.ceil_mode else room // stride
        return steps - 1 if self.ceil_mode and steps * stride >= end else steps
