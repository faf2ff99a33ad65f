"""Average pools as the convolutions that they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mobilekit.rewrites.fx.ops import pair


def uneven(pool: dict[str, Any]) -> str | None:
    """Return why an average pool with these arguments is no convolution, if it is none."""
    if pool["ceil_mode"]:
        return "its last windows reach past the input, and are means of fewer values"
    if any(pair(pool["padding"])) and not pool["count_include_pad"] and pool["divisor_override"] is None:
        return "its windows at the border leave the padding out, and are means of fewer values"
    return None


def averaging(channels: int, pool: dict[str, Any]) -> nn.Conv2d:
    """Return the depthwise convolution, in float64, that an average pool with these arguments is."""
    kernel = pair(pool["kernel_size"])
    stride = kernel if pool["stride"] in (None, []) else pair(pool["stride"])
    conv = nn.Conv2d(channels, channels, kernel, stride, pair(pool["padding"]), groups=channels, bias=False)
    weight = torch.full(conv.weight.shape, 1 / (pool["divisor_override"] or kernel[0] * kernel[1]), dtype=torch.float64)
    conv.weight = nn.Parameter(weight)
    return conv
