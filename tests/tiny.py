"""A net of a few layers, for what is about exports and not about nets; `TINY` names it on a command line."""

from pathlib import Path

import torch
from torch import nn

TINY = f"{Path(__file__)}:make_tiny"
TINY_RECIPE = Path(__file__).parent / "data" / "tiny.yaml"


class Tiny(nn.Module):
    """Convolutions with batch norms, one of them depthwise, a residual, and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.mix = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.mix(self.depthwise(x).relu())
        return self.head(x.mean((2, 3)))


def make_tiny() -> Tiny:
    return Tiny()
