"""A small detector-like network of one's own: three feature maps by name.

It is untrained: `--weights none` draws its weights, and sets its batch norms on the calibration inputs.

mobilekit export docs/examples/detector.py:make_detector --input-size 160 --weights none
"""

import torch
from torch import nn


def stage(in_channels: int, out_channels: int) -> nn.Sequential:
    """Halve the size, with batch norm and Hard-Swish."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, 2, 1, bias=False), nn.BatchNorm2d(out_channels), nn.Hardswish()
    )


class Detector(nn.Module):
    """Images (N, 3, H, W) to the maps p3, p4 and p5 of 8, 16 and 32 times smaller size."""

    def __init__(self, width: int, anchors: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(stage(3, width), stage(width, width), stage(width, 2 * width))
        self.stage4 = stage(2 * width, 4 * width)
        self.stage5 = stage(4 * width, 8 * width)
        self.heads = nn.ModuleList(nn.Conv2d(width * scale, anchors * 5, 1) for scale in (2, 4, 8))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the maps by name."""
        p3 = self.stem(x)
        p4 = self.stage4(p3)
        p5 = self.stage5(p4)
        maps = zip(("p3", "p4", "p5"), self.heads, (p3, p4, p5), strict=True)
        return {name: head(features) for name, head, features in maps}


def make_detector(width: int = 16, anchors: int = 3) -> Detector:
    """Return the network; mobilekit calls this."""
    return Detector(width, anchors)
