"""TFLite's DEPTH_TO_SPACE in PyTorch, whose `pixel_shuffle` has another order of channels."""

from __future__ import annotations

from typing import Any

import torch


@torch.library.custom_op("mobilekit::depth_to_space", mutates_args=())
def depth_to_space(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Return (N, C, k H, k W) of (N, k k C, H, W): channel (i k + j) C + c is row i, column j of each block of c.

    It is one operator, which an ONNX file has as DepthToSpace in the mode DCR: onnx2tf makes TFLite's op of that.

    Args:
        x: The map.
        factor: k.
    """
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, factor, factor, channels // factor**2, height, width)
    moved = blocks.permute(0, 3, 4, 1, 5, 2).clone(memory_format=torch.contiguous_format)  # no view may be returned
    return moved.view(batch, channels // factor**2, height * factor, width * factor)


@depth_to_space.register_fake
def _shaped(x: torch.Tensor, factor: int) -> torch.Tensor:
    batch, channels, height, width = x.shape
    return x.new_empty(batch, channels // factor**2, height * factor, width * factor)


def _keep_factor(ctx: Any, inputs: tuple[torch.Tensor, int], output: torch.Tensor) -> None:
    ctx.factor = inputs[1]


def _backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
    """Return the gradient of the input: each value's own, at its place before."""
    factor = ctx.factor
    batch, channels, height, width = gradient.shape
    blocks = gradient.reshape(batch, channels, height // factor, factor, width // factor, factor)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(batch, -1, height // factor, width // factor), None


depth_to_space.register_autograd(_backward, setup_context=_keep_factor)


def repeat(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Return (N, C, H, W) with each value `factor` times along H and W: copies of all channels, brought to space."""
    repeated: torch.Tensor = depth_to_space(torch.cat([x] * factor**2, 1), factor)
    return repeated
