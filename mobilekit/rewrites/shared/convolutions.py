"""Convolutions: their kinds, their cost, and copies of them with other weights."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.rewrites.fx.graph import module_of, shape_of


def is_grouped(conv: nn.Conv2d) -> bool:
    """Return whether a convolution has groups, and is not depthwise."""
    return conv.groups > 1 and conv.in_channels > conv.groups


def is_depthwise(conv: nn.Conv2d) -> bool:
    """Return whether a convolution has one kernel for each channel."""
    return conv.groups == conv.in_channels == conv.out_channels


def macs_of(node: Node, conv: nn.Conv2d) -> int:
    """Return the multiply-accumulates of a call of a convolution, for the recipe's input."""
    shape = shape_of(node)
    assert shape is not None
    return shape[0] * math.prod(shape[2:]) * conv.weight.numel()


def dense_macs(node: Node, conv: nn.Conv2d) -> int:
    """Return how many multiply-accumulates more a call takes when the convolution is dense."""
    return macs_of(node, conv) * (conv.groups - 1)


def dense_weight(conv: nn.Conv2d) -> torch.Tensor:
    """Return the weights of the dense convolution, (out, in, kH, kW)."""
    return regrouped(conv.weight.detach(), conv.groups, 1)


def regrouped(weight: torch.Tensor, groups: int, fewer: int) -> torch.Tensor:
    """Return the weights (out, in / fewer, kH, kW) of the same convolution with fewer groups, which divide its groups.

    Between its own groups there are zeros.

    Args:
        weight: (out, in / groups, kH, kW).
        groups: Its number of groups.
        fewer: The number of groups to have.
    """
    if groups == fewer:
        return weight
    out, inner = weight.shape[0] // groups, weight.shape[1]
    wide = weight.new_zeros(len(weight), inner * groups // fewer, *weight.shape[2:])
    for group in range(groups):
        rows, first = slice(group * out, (group + 1) * out), group * inner % wide.shape[1]
        wide[rows, first : first + inner] = weight[rows]
    return wide


def with_weights(conv: nn.Conv2d, weight: torch.Tensor, groups: int, bias: torch.Tensor | None = None) -> nn.Conv2d:
    """Return a convolution that slides as `conv` does, with other weights; with its bias unless another is given."""
    new = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        conv.dilation,  # type: ignore[arg-type]
        groups,
        bias=False,
        padding_mode=conv.padding_mode,
        dtype=weight.dtype,
    )
    new.weight = nn.Parameter(weight)
    old = conv.bias if bias is None else bias
    new.bias = None if old is None else nn.Parameter(old.detach())
    return new.eval()


def permute_kernels(graph: GraphModule, node: Node, order: torch.Tensor) -> None:
    """Permute the kernels of a depthwise convolution."""
    conv = module_of(graph, node)
    assert isinstance(conv, nn.Conv2d)
    bias = None if conv.bias is None else conv.bias[order]
    graph.set_submodule(str(node.target), with_weights(conv, conv.weight.detach()[order], conv.groups, bias))
