"""DFC attention: decoupled fully connected attention, as GhostNetV2's paper defines it.

Source: GhostNetV2, arXiv 2211.12905, equations 3 to 5. With z = X W (a 1x1 convolution), for each channel

    a'[h, w] = sum over h' of F^H[h, h', w] z[h', w]        (along the height)
    a [h, w] = sum over w' of F^W[w, h, w'] a'[h, w']       (along the width)

and the output is Sigmoid(a) * GhostModule(X). F may be shared along the other axis (`dense` here: one L x L matrix a
channel), and further be shift-invariant with K taps (`shared` here: the banded Toeplitz matrix that the official
checkpoints hold as 1xK and Kx1 kernels). Both are applied here as the linear maps that the equations write; turning
them into convolutions is the work of a rewrite, which has to prove it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

import torch
from torch import nn
from torch.nn import functional as F

Axis = Literal["horizontal", "vertical"]


@dataclass(frozen=True)
class DFCOptions:
    """The points on which the sources differ; the defaults are what the official weights need."""

    weights: Literal["shared", "dense"] = "shared"
    kernel_size: int = 5
    """Taps of a shared map, odd. The official code has 5 at every stage."""
    pool: Literal["avg", "max"] = "avg"
    """How the features are halved: avg in the official code and MindSpore's, max in one text on the paper."""
    upsample: Literal["nearest", "bilinear"] = "nearest"
    """How the gate returns to full size: nearest in the official PyTorch code, bilinear in the paper and MindSpore."""
    gate: Literal["before", "after"] = "before"
    """Sigmoid before the upsample (all published code) or after it."""
    order: Literal["horizontal-first", "vertical-first"] = "horizontal-first"
    """Which map comes first: horizontal in the code, vertical in the equations."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(DFCOptions).items():
            allowed = get_args(kind)
            if allowed and getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}, not one of {', '.join(allowed)}")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {self.kernel_size}, not odd and positive")


class FullyConnected(nn.Module, ABC):
    """A linear map along one axis of (N, C, H, W), with a matrix of its own for each channel."""

    weight: nn.Parameter

    def __init__(self, axis: Axis) -> None:
        super().__init__()
        self.axis: Axis = axis

    @abstractmethod
    def matrix(self, length: int) -> torch.Tensor:
        """Return F, of shape (C, length, length); row = output position, column = input position."""

    @abstractmethod
    def macs(self, height: int, width: int) -> int:
        """Return the multiply-accumulates of one image whose map is height x width."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply F along the axis; shape and dtype stay."""
        if self.axis == "horizontal":
            return torch.matmul(x, self.matrix(x.shape[-1]).transpose(1, 2))
        return torch.matmul(self.matrix(x.shape[-2]), x)


class SharedFullyConnected(FullyConnected):
    """Shift-invariant F: K taps a channel, F[i, j] = taps[j - i + K // 2], zero outside the band; any size.

    The parameter has the shape of the official checkpoints' kernels: (C, 1, 1, K) horizontal, (C, 1, K, 1) vertical.
    """

    def __init__(self, channels: int, kernel_size: int, axis: Axis) -> None:
        super().__init__(axis)
        shape = (channels, 1, 1, kernel_size) if axis == "horizontal" else (channels, 1, kernel_size, 1)
        self.kernel_size = kernel_size
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def matrix(self, length: int) -> torch.Tensor:
        """Return the banded Toeplitz matrices, (C, length, length)."""
        position = torch.arange(length, device=self.weight.device)
        tap = position[None, :] - position[:, None] + self.kernel_size // 2
        inside = (tap >= 0) & (tap < self.kernel_size)
        taps = self.weight.flatten(1)[:, tap.clamp(0, self.kernel_size - 1)]
        return taps * inside

    def macs(self, height: int, width: int) -> int:
        """Return K x H x W for each channel: what the band holds, zeros outside it not counted."""
        return self.weight.numel() * height * width


class DenseFullyConnected(FullyConnected):
    """A full L x L matrix a channel; takes one input size."""

    def __init__(self, channels: int, length: int, axis: Axis) -> None:
        super().__init__(axis)
        self.weight = nn.Parameter(torch.empty(channels, length, length))
        nn.init.uniform_(self.weight, -(length**-0.5), length**-0.5)

    def matrix(self, length: int) -> torch.Tensor:
        """Return the matrices, (C, length, length).

        Raises:
            ValueError: `length` is not the one they were made for.
        """
        if length != self.weight.shape[-1]:
            raise ValueError(
                f"dense DFC weights are for a map of {self.weight.shape[-1]} along the {self.axis} axis, not {length}"
            )
        return self.weight

    def macs(self, height: int, width: int) -> int:
        """Return L x H x W for each channel, with L the length of the axis."""
        return self.weight.shape[0] * self.weight.shape[-1] * height * width


class DFCAttention(nn.Module):
    """The gate that GhostNetV2 puts beside a ghost module: (N, in, H, W) to (N, out, H, W), values in 0..1.

    It works on the features halved in height and width, which is a quarter of the cost (paper, section 4.2). As in
    the official code, a batch norm follows each linear map.

    Args:
        size: Height and width of the full-size input; only `dense` weights need it.
    """

    def __init__(self, in_channels: int, out_channels: int, options: DFCOptions, size: int | None = None) -> None:
        super().__init__()
        self.options = options
        self.project = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.project_bn = nn.BatchNorm2d(out_channels)
        self.horizontal = _fully_connected(out_channels, options, size, "horizontal")
        self.horizontal_bn = nn.BatchNorm2d(out_channels)
        self.vertical = _fully_connected(out_channels, options, size, "vertical")
        self.vertical_bn = nn.BatchNorm2d(out_channels)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the gate at the size of `x`."""
        pool = F.avg_pool2d if self.options.pool == "avg" else F.max_pool2d
        attention = self.project_bn(self.project(pool(x, kernel_size=2, stride=2)))
        if self.options.order == "horizontal-first":
            attention = self.horizontal_bn(self.horizontal(attention))
            attention = self.vertical_bn(self.vertical(attention))
        else:
            attention = self.vertical_bn(self.vertical(attention))
            attention = self.horizontal_bn(self.horizontal(attention))
        size = (x.shape[2], x.shape[3])
        if self.options.gate == "before":
            return _upsample(self.sigmoid(attention), size, self.options.upsample)
        gate: torch.Tensor = self.sigmoid(_upsample(attention, size, self.options.upsample))
        return gate


def _upsample(x: torch.Tensor, size: tuple[int, int], mode: str) -> torch.Tensor:
    if mode == "nearest":
        return F.interpolate(x, size=size, mode="nearest")
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _fully_connected(channels: int, options: DFCOptions, size: int | None, axis: Axis) -> FullyConnected:
    if options.weights == "shared":
        return SharedFullyConnected(channels, options.kernel_size, axis)
    if size is None:
        raise ValueError("dense DFC weights need the input size")
    return DenseFullyConnected(channels, size // 2, axis)
