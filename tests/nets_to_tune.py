"""A net whose gate can be written in two ways."""

from __future__ import annotations

import torch
from torch import nn


class Gated(nn.Module):
    """Convolutions with a squeeze-and-excite gate, for pictures of 32 x 32."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.squeeze = nn.Conv2d(8, 8, 1)
        self.gate = nn.Hardsigmoid()
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, 4)."""
        x = torch.relu(self.first(x))
        x = x * self.gate(self.squeeze(x.mean((2, 3), keepdim=True)))
        return self.head(x.mean((2, 3)))


def make_gated() -> nn.Module:
    """Return the net."""
    return Gated()
