"""Nearest resizing as the rows and columns that it takes."""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of
from mobilekit.rewrites.fx.lowered import Lowered
from mobilekit.rewrites.fx.ops import replace_by_module
from mobilekit.rewrites.shared.resizing import Axis, axes_of, resized_along, resizings

_NEAR_WHOLE = 1e-4
"""A position this near a whole one may be another row in another runtime, which rounds otherwise."""


class NearestRows(Rewrite[Options]):
    """Exact, bit for bit: nearest resizing takes some rows and some columns.

    Runtimes compute by other formulas which, and a file has sizes alone: not the factor by which PyTorch takes
    coordinates. Rows at equal steps are cut out of blocks, for which XNNPACK has kernels, as it has none for a nearest
    resize; others are gathered.
    """

    name = "nearest-rows"
    exactness = Exactness.EXACT_WHEN
    summary = "Nearest resizing as slices or gathers, where sizes or other runtimes' formulas do not tell its rows"

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the nearest resizings."""
        return [Site(node.name, path_of(node)) for node in resizings(graph, "nearest", "nearest-exact")]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse what repeats values, what every runtime does alike, and rows that rounding decides in PyTorch."""
        node = node_named(graph, site.node)
        axes = axes_of(graph, node)
        rows = {axis: _rows(graph, node, axis, torch.float64) for axis in axes}
        if all(axis.size >= axis.length and axis.is_told_by_lengths for axis in axes) and _is_plain(graph, node):
            return "it repeats values, by the sizes"
        if any(rows[axis] != _rows(graph, node, axis, torch.float32) for axis in axes):
            return "float32 and float64 take other rows; give `size`, or recompute_scale_factor=True"
        if all(axis.is_told_by_lengths and not _is_near_whole(axis) for axis in axes) and _is_plain(graph, node):
            return "every runtime takes these rows"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Take them."""
        node = node_named(graph, site.node)
        rows = [tuple(_rows(graph, node, axis, torch.float64)) for axis in axes_of(graph, node)]
        replace_by_module(graph, node, Rows(rows), input_node(node))


def _rows(graph: GraphModule, node: Node, axis: Axis, dtype: torch.dtype) -> list[int]:
    places = resized_along(graph, node, axis, torch.arange(axis.length, dtype=dtype))
    return [int(place) for place in places]


def _is_plain(graph: GraphModule, node: Node) -> bool:
    """Return whether it is the mode that every runtime has."""
    return "exact" not in str(node.target)


def _is_near_whole(axis: Axis) -> bool:
    """Return whether a row but the first lies where rounding may decide which it is."""
    positions = torch.arange(1, axis.size, dtype=torch.float64) * axis.length / axis.size
    return axis.size < axis.length and bool(((positions - positions.round()).abs() < _NEAR_WHOLE).any())


class Rows(Lowered):
    """The chosen places along each axis from the third on, of (N, C, H, W) or (N, C, L)."""

    def __init__(self, rows: list[tuple[int, ...]]) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the values there."""
        steps = [_steps(places, int(length)) for places, length in zip(self.rows, x.shape[2:], strict=True)]
        if len(steps) == 2 and steps[0] and steps[1]:
            return _from_blocks(x, steps[0], steps[1], (len(self.rows[0]), len(self.rows[1])))
        for axis, places in enumerate(self.rows, 2):
            if list(places) != list(range(int(x.shape[axis]))):
                x = x.index_select(axis, torch.tensor(places, device=x.device))
        return x


Steps = tuple[int, int]
"""The first place, and the step to the next: each lies at the first place of its block."""


def _steps(places: tuple[int, ...], length: int) -> Steps | None:
    """Return first place and step of places at equal steps, where that many whole blocks are there; else None."""
    first, step = places[0], places[1] - places[0] if len(places) > 1 else length
    is_even = list(places) == list(range(first, first + step * len(places), step)) if step > 0 else False
    return (first, step) if is_even and first < step and step * len(places) <= length else None


def _from_blocks(x: torch.Tensor, down: Steps, across: Steps, sizes: tuple[int, int]) -> torch.Tensor:
    """Cut one value out of each block of (N, C, H, W), in TFLite's order of axes, where a view costs nothing."""
    batch, channels = x.shape[:2]
    (height, width), (row, rows), (column, columns) = sizes, down, across
    x = x.permute(0, 2, 3, 1)[:, : height * rows, : width * columns]
    x = x.reshape(batch, height, rows, width * columns * channels)[:, :, row : row + 1]
    x = x.reshape(batch, height * width, columns, channels)[:, :, column : column + 1]
    return x.reshape(batch, height, width, channels).permute(0, 3, 1, 2)
