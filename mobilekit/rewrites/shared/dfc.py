"""DFC attention's linear maps as convolutions."""

from __future__ import annotations

from torch import nn

from mobilekit.models.dfc import Axis


def depthwise_along(axis: Axis, taps: nn.Parameter) -> nn.Conv2d:
    """Return the zero-padded depthwise convolution with these kernels, (C, 1, 1, K) or (C, 1, K, 1), K odd."""
    channels, kernel = taps.shape[0], max(taps.shape[2:])
    size, padding = ((1, kernel), (0, kernel // 2)) if axis == "horizontal" else ((kernel, 1), (kernel // 2, 0))
    conv = nn.Conv2d(channels, channels, size, padding=padding, groups=channels, bias=False, dtype=taps.dtype)
    conv.weight = taps
    return conv
