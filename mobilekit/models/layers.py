"""Layers that the reference models share."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

Rounding = Literal["nearest", "ceil"]


def make_divisible(value: float, divisor: int = 4) -> int:
    """Round a channel count to a multiple of `divisor`, never more than 10 % down.

    Source: the rule of MobileNetV2's code, which GhostNet's official code uses with divisor 4.
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def ceil_to(value: float, divisor: int = 4) -> int:
    """Round a channel count up to a multiple of `divisor` (GhostNet's MindSpore code, for SE)."""
    return -int(-value // divisor) * divisor


class ConvBnAct(nn.Sequential):
    """Convolution without bias, batch norm, and ReLU or nothing. Input and output: (N, C, H, W)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True
    ) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU() if relu else nn.Identity(),
        )


class SqueezeExcite(nn.Module):
    """Channel gate from the mean over space, with a hard-sigmoid. Input and output: (N, C, H, W).

    Source: GhostNet, arXiv 1911.11907, section 3.2; the hard-sigmoid and the rounding are those of the official code.
    """

    def __init__(self, channels: int, ratio: float = 0.25, rounding: Rounding = "nearest") -> None:
        super().__init__()
        squeezed = make_divisible(channels * ratio) if rounding == "nearest" else ceil_to(channels * ratio)
        self.conv_reduce = nn.Conv2d(channels, squeezed, 1)
        self.act = nn.ReLU()
        self.conv_expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x` times a gate in 0..1 for each channel."""
        squeezed: torch.Tensor = self.act(self.conv_reduce(F.adaptive_avg_pool2d(x, 1)))
        gated: torch.Tensor = x * self.gate(self.conv_expand(squeezed))
        return gated
