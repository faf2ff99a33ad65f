"""TFLite's DEPTH_TO_SPACE in PyTorch, whose `pixel_shuffle` has another order of channels."""

from __future__ import annotations

from typing import Any

import torch


class DepthToSpace(torch.autograd.Function):
    """Channel (i k + j) C + c of (N, k k C, H, W) becomes channel c of row i, column j of each k x k block.

    torch.onnx makes it ONNX's DepthToSpace in the mode DCR, which onnx2tf makes TFLite's op.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factor: int) -> torch.Tensor:
        """Return (N, C, k H, k W) for the factor k."""
        ctx.factor = factor
        batch, channels, height, width = x.shape
        blocks = x.reshape(batch, factor, factor, channels // factor**2, height, width)
        return blocks.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * factor, width * factor)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return the gradient of the input: each value's own, at its place before."""
        batch, channels, height, width = gradients[0].shape
        factor = ctx.factor
        blocks = gradients[0].reshape(batch, channels, height // factor, factor, width // factor, factor)
        return blocks.permute(0, 3, 5, 1, 2, 4).reshape(batch, -1, height // factor, width // factor), None

    @staticmethod
    def symbolic(graph: Any, x: Any, factor: int) -> Any:
        """Return the ONNX op."""
        return graph.op("DepthToSpace", x, blocksize_i=factor, mode_s="DCR")


def repeat(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Return (N, C, H, W) with each value `factor` times along H and W: copies of all channels, brought to space."""
    repeated: torch.Tensor = DepthToSpace.apply(torch.cat([x] * factor**2, 1), factor)  # type: ignore[no-untyped-call]
    return repeated
