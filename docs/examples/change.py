"""A small network of one's own with several inputs: what changed between two pictures, where a mask allows it.

mobilekit export docs/examples/change.py:make_change --recipe docs/examples/change.yaml
"""

import torch
from torch import nn


class ChangeDetector(nn.Module):
    """Two pictures (N, 3, H, W) and a mask (N, 1, H, W) to a map of changes (N, 1, H/2, W/2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.Hardswish())
        self.weigh = nn.Conv2d(1, width, 3, 2, 1)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, after: torch.Tensor, before: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the map."""
        change = self.features(after) - self.features(before)
        return self.head(change * torch.sigmoid(self.weigh(mask)))


def make_change(width: int = 8) -> ChangeDetector:
    """Return the network; mobilekit calls this."""
    return ChangeDetector(width)
