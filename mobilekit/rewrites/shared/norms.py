"""Batch norms as what they are in evaluation: a factor and a summand for each channel."""

from __future__ import annotations

import torch
from torch import nn

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def scale_and_shift(norm: BatchNorm) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the factors and the summands, (C,) each, of a batch norm that keeps statistics."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        scale = torch.rsqrt(norm.running_var + norm.eps)
        scale = scale if norm.weight is None else scale * norm.weight
        shift = -norm.running_mean * scale
        return scale, shift if norm.bias is None else shift + norm.bias
