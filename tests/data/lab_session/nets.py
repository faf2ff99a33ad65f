"""Two small networks; the second does many times the work of the first."""

import torch
from torch import nn


class Net(nn.Module):
    """Pictures (N, 3, 32, 32) to scores (N, 10)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        depthwise, pointwise = nn.Conv2d(width, width, 3, 1, 1, groups=width), nn.Conv2d(width, width, 1)
        self.mix = nn.Sequential(depthwise, pointwise, nn.Hardswish())
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores."""
        return self.head(self.mix(self.stem(x)).mean((2, 3)))


def make_small() -> Net:
    """Return the first."""
    return Net(8)


def make_large() -> Net:
    """Return the second."""
    return Net(48)
