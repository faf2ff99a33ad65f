"""Channel shuffles: found in a graph, and as one module."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.fx import GraphModule, Node

from mobilekit.rewrites.fx.graph import input_node, module_of, shape_of
from mobilekit.rewrites.fx.lowered import Lowered
from mobilekit.rewrites.fx.ops import CHANNEL_SHUFFLE, FLATTEN, PERMUTE, RESHAPE, TRANSPOSE, UNFLATTEN, is_call

Form = Literal["transpose", "gather"]


@dataclass(frozen=True)
class Shuffle:
    """A channel shuffle: channel i of group j of `source` becomes channel j of block i."""

    source: Node
    groups: int

    def order(self, channels: int) -> torch.Tensor:
        """Return which channel of the source each channel is."""
        return torch.arange(channels).view(self.groups, -1).t().reshape(-1)


def shuffle_at(graph: GraphModule, node: Node) -> Shuffle | None:
    """Return the shuffle that ends at a node, written as one layer or as reshape, transpose and reshape."""
    module = module_of(graph, node)
    if isinstance(module, ChannelShuffle):
        return Shuffle(input_node(node), module.groups)
    if is_call(graph, node, CHANNEL_SHUFFLE):
        groups = node.args[1]
        return Shuffle(input_node(node), groups) if isinstance(groups, int) else None
    if not is_call(graph, node, RESHAPE, FLATTEN):
        return None
    swapped = input_node(node)
    if not (is_call(graph, swapped, TRANSPOSE, PERMUTE) and _swaps_1_and_2(swapped)):
        return None
    split = input_node(swapped)
    if not is_call(graph, split, RESHAPE, UNFLATTEN):
        return None
    source = input_node(split)
    before, between, after = shape_of(source), shape_of(split), shape_of(node)
    if before is None or between is None or before != after or len(before) != 4 or len(between) not in (4, 5):
        return None
    batch, groups, each, *rest = between
    fits = batch == before[0] and groups * each == before[1] and math.prod(rest) == math.prod(before[2:])
    return Shuffle(source, groups) if fits else None


def _swaps_1_and_2(node: Node) -> bool:
    """Return whether a transposition or permutation swaps axes 1 and 2 and leaves the others."""
    shape = shape_of(node)
    assert shape is not None
    rank = len(shape)
    values: list[Any] = list(node.args[1:])
    if len(values) == 1 and isinstance(values[0], list | tuple):
        values = list(values[0])
    if not all(isinstance(value, int) for value in values):
        return False
    axes = [value % rank for value in values]
    return sorted(axes) == [1, 2] if len(axes) == 2 else axes == [0, 2, 1, *range(3, rank)]


class ChannelShuffle(Lowered):
    """The shuffle of (N, C, H, W) in one of its forms."""

    def __init__(self, groups: int, form: Form) -> None:
        super().__init__()
        self.groups = groups
        self.form = form

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the channels in their new order."""
        batch, channels, height, width = x.shape
        if self.form == "gather":
            return x[:, torch.arange(channels).view(self.groups, -1).t().reshape(-1)]
        dealt = x.permute(0, 2, 3, 1).reshape(batch, height * width, self.groups, channels // self.groups)
        return dealt.permute(0, 1, 3, 2).reshape(batch, height, width, channels).permute(0, 3, 1, 2)
