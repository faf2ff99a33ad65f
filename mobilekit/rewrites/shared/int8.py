"""Weights as int8 has them."""

from __future__ import annotations

import torch


def in_steps(weight: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """Return weights as multiples of a scale that is 1/127 of the largest along these axes."""
    scale = (weight.abs().amax(axes, keepdim=True) / 127).clamp_min(torch.finfo(weight.dtype).tiny)
    return (weight / scale).round() * scale
