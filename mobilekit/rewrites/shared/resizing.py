"""What resizings compute along each axis, asked of PyTorch itself."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.fx import GraphModule, Node

from mobilekit.rewrites.fx.graph import input_node, shape_of
from mobilekit.rewrites.fx.ops import INTERPOLATE, arguments, is_call


class Axis(NamedTuple):
    """How one axis is resized."""

    axis: int
    """From 2 on: (N, C, H, W) or (N, C, L)."""
    length: int
    size: int
    """The length after it."""
    scale: float | None
    """The factor by which PyTorch takes coordinates; None where it takes them by the two lengths."""

    @property
    def is_told_by_lengths(self) -> bool:
        """Whether the lengths give the same coordinates."""
        return self.scale is None or abs(self.scale * self.length - self.size) <= 1e-9 * self.size


def resizings(graph: GraphModule, *modes: str) -> list[Node]:
    """Return the resizings in one of these modes, of any input but those of other shapes."""
    return [
        node
        for node in graph.graph.nodes
        if is_call(graph, node, INTERPOLATE) and arguments(graph, node)["mode"] in modes
    ]


def axes_of(graph: GraphModule, node: Node) -> list[Axis]:
    """Return what a resizing does along each axis."""
    given, before, after = arguments(graph, node), shape_of(input_node(node)), shape_of(node)
    assert before is not None and after is not None
    scales = given["scale_factor"] or [None] * (len(before) - 2)
    return [Axis(at + 2, before[at + 2], after[at + 2], scale) for at, scale in enumerate(scales)]


def resized_along(graph: GraphModule, node: Node, axis: Axis, values: torch.Tensor) -> torch.Tensor:
    """Return values (length, ...) resized along their first axis as a resizing resizes along one of its own.

    Returns:
        (size, ...), of the dtype of the values.
    """
    given = arguments(graph, node)
    axes = axes_of(graph, node)
    flat = values.reshape(axis.length, -1).T[None]  # (1, C, length)
    shape = [axis.length if each == axis else 1 for each in axes]
    sizes = [axis.size if each == axis else 1 for each in axes]
    scales = [axis.scale if each == axis else 1.0 for each in axes] if axis.scale is not None else None
    align = [given["align_corners"]] if "align_corners" in given else []
    target: Any = node.target
    resized: torch.Tensor = target(flat.reshape(1, -1, *shape), None if scales else sizes, *align, scales)
    return resized.reshape(-1, axis.size).T.reshape(axis.size, *values.shape[1:])
