"""A network of few weights with a part for each word of `int8: {keep_float: ...}`."""

import torch
from torch import nn


class Net(nn.Module):
    """Gray images (N, 1, 32, 32) to scores (N, 10)."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, 4, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.mix = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, groups=width), nn.Hardswish())
        self.share = nn.Conv2d(width, width, 1)
        self.norm = nn.GroupNorm(1, width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores."""
        x = self.stem(x)
        x = x + self.mix(x)
        share = self.share(x).sigmoid()
        x = self.norm(x * (share / (share.sum((2, 3), keepdim=True) + 1)))
        return self.head(x.mean((2, 3)))


def make() -> Net:
    """Return the network."""
    return Net()
