"""Convolutions place by place of their kernels: so depthwise ones in float64, which PyTorch computes by channel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class FastDepthwise(TorchFunctionMode):
    """While it is on, depthwise convolutions in float64 are computed for all channels at once, a seventh of the time.

    They are sums over the places of the kernel, as in their definition. All else, float32 too, is left to PyTorch.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one function."""
        if func is torch.conv2d and not kwargs and len(args) == 7:
            x, weight, bias, stride, padding, dilation, groups = args
            is_depthwise = x.ndim == 4 and weight.shape[1] == 1 and x.shape[1] == groups
            if is_depthwise and x.dtype == torch.float64 and not isinstance(padding, str):
                return _depthwise(x, weight, bias, stride, padding, dilation)
        return func(*args, **(kwargs or {}))


def _depthwise(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> torch.Tensor:
    """Convolve each channel of (N, C, H, W) with its own kernels of (k C, 1, h, w)."""
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    kernel = weight.shape[2:]
    result = x.new_zeros(len(x), len(weight), *size_of_result(padded.shape[2:], kernel, stride, dilation))
    times = len(weight) // x.shape[1]
    if bias is not None:
        result += bias[:, None, None]
    for i, j, seen in places_of_kernel(padded, kernel, stride, dilation):
        repeated = seen.repeat_interleave(times, 1) if times > 1 else seen
        result.addcmul_(repeated, weight[:, :, i, j, None])
    return result


def places_of_kernel(
    padded: torch.Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Yield row and column of each place of a kernel, and what of a padded map (N, C, H, W) it is multiplied with."""
    size = size_of_result(padded.shape[2:], kernel, stride, dilation)

    def seen(axis: int, place: int) -> slice:
        first = place * dilation[axis]
        return slice(first, first + (size[axis] - 1) * stride[axis] + 1, stride[axis])

    for i in range(kernel[0]):
        for j in range(kernel[1]):
            yield i, j, padded[:, :, seen(0, i), seen(1, j)]


def size_of_result(
    padded: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[int, int]:
    """Return height and width that a convolution makes of a padded map's."""
    height, width = ((padded[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(2))
    return height, width
