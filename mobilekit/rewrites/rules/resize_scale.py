"""Bilinear and bicubic resizing by what the file can say."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch.fx import GraphModule, Node
from torch.nn import functional as F

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of
from mobilekit.rewrites.fx.lowered import Lowered
from mobilekit.rewrites.fx.ops import arguments, replace_by_module
from mobilekit.rewrites.shared.resizing import Axis, axes_of, resized_along, resizings

_LARGEST_DENOMINATOR = 16
"""Of a scale factor, as a fraction: one less is how many rows are added at most."""


class ResizeScale(Rewrite[Options]):
    """Exact: resizing by a factor that the sizes do not tell, of a map that is made longer until they do.

    PyTorch takes coordinates by the factor that it is given, (i + .5) / 1.5 - .5; a TFLite file has sizes alone, 37
    from 25. 39 from 26 is the same factor: one more row, equal to the last as at any edge, and the first 37 of the
    result. What else is computed by no op of TFLite is a product with a matrix along each axis, as bicubic resizing.
    """

    name = "resize-scale"
    exactness = Exactness.EXACT
    summary = "Bilinear resizing by a factor that sizes do not tell, of a longer map; bicubic by products of matrices"

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the bicubic resizings, and the linear ones whose sizes are not by their factor."""
        found = [
            node
            for node in resizings(graph, "linear", "bilinear", "bicubic")
            if arguments(graph, node)["mode"] == "bicubic"
            or not (arguments(graph, node)["align_corners"] or all(a.is_told_by_lengths for a in axes_of(graph, node)))
        ]
        return [Site(node.name, path_of(node), _detail(graph, node)) for node in found]

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Resize a longer map, or multiply by matrices."""
        node = node_named(graph, site.node)
        longer = _longer(graph, node)
        if longer:
            module: Lowered = LongerBilinear(longer, [axis.size for axis in axes_of(graph, node)])
        else:
            matrices = [
                resized_along(graph, node, axis, torch.eye(axis.length, dtype=torch.float64))
                for axis in axes_of(graph, node)
            ]
            module = ResizeByMatrices(matrices)
        replace_by_module(graph, node, module, input_node(node))


def _detail(graph: GraphModule, node: Node) -> str:
    longer = _longer(graph, node)
    if not longer:
        return "products of matrices"
    return " and ".join(f"{size} from {length}" for length, size in longer)


def _longer(graph: GraphModule, node: Node) -> list[tuple[int, int]]:
    """Return a length and size of each axis whose ratio is its factor; nothing where there are none."""
    if arguments(graph, node)["mode"] != "bilinear":
        return []
    found = [_whole(axis) for axis in axes_of(graph, node)]
    return [pair for pair in found if pair] if None not in found else []


def _whole(axis: Axis) -> tuple[int, int] | None:
    if axis.is_told_by_lengths:
        return axis.length, axis.size
    assert axis.scale
    factor = Fraction(axis.scale).limit_denominator(_LARGEST_DENOMINATOR)
    length = -(-axis.length // factor.denominator) * factor.denominator
    is_exact = abs(float(factor) - axis.scale) <= 1e-12 * axis.scale
    return (length, int(length * factor)) if is_exact and length <= 2 * axis.length else None


class LongerBilinear(Lowered):
    """Bilinear resizing of (N, C, H, W), made longer before and cut after."""

    def __init__(self, longer: list[tuple[int, int]], sizes: list[int]) -> None:
        super().__init__()
        self.longer = longer
        self.sizes = sizes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the resized map. Of what is added the first row is the edge's, and others are not read."""
        for axis, (length, _size) in enumerate(self.longer, 2):
            last = int(x.shape[axis]) - 1
            more = length - last - 1
            edge, others = x.narrow(axis, last, 1), x.narrow(axis, 0, max(0, more - 1))
            x = torch.cat([x, *([edge] if more else []), *([others] if more > 1 else [])], axis)
        x = F.interpolate(x, size=[size for _length, size in self.longer], mode="bilinear")
        return x[:, :, : self.sizes[0], : self.sizes[1]]


class ResizeByMatrices(Lowered):
    """Linear maps along each axis from the third on, of (N, C, H, W) or (N, C, L)."""

    def __init__(self, matrices: list[torch.Tensor]) -> None:
        super().__init__()
        for number, matrix in enumerate(matrices):
            self.register_buffer(f"matrix_{number}", matrix)
        self.count = len(matrices)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the products."""
        for number in range(self.count):
            axis = 2 + number
            x = F.linear(x.transpose(axis, -1), self.get_buffer(f"matrix_{number}")).transpose(axis, -1)
        return x
