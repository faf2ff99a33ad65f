"""A small net, and the same net with one fault of a kind that converters have made."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

SIZE = 24


class Upsample(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, size=(7, 7), mode="nearest")


class Shuffle(nn.Module):
    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        return x.view(n, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class Pool(nn.Module):
    """A pool whose odd zero is at the beginning of each axis, or at its end."""

    def __init__(self, at_end: bool) -> None:
        super().__init__()
        self.padding = (0, 1, 0, 1) if at_end else (1, 0, 1, 0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(F.pad(x, self.padding), 3, 2)


class Net(nn.Module):
    """A few layers of each kind; `fault` names what is done wrong. That of `up` has to be planted in the artifact."""

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, 2, 1)
        self.act = nn.Hardsigmoid() if fault == "act" else nn.Hardswish()
        self.pool = Pool(at_end=fault == "pool")
        self.mix = nn.Conv2d(12, 12, 1, groups=3)
        self.shuffle = Shuffle(4 if fault == "shuffle" else 3)
        self.norm = nn.BatchNorm2d(12)
        self.after = nn.Conv2d(12, 12, 3, 1, 1)
        self.down = nn.Conv2d(12, 12, 3, 2, 1)
        self.up = Upsample()
        self.last = nn.Conv2d(12, 12, 3)
        self.head = nn.Linear(12, 10)
        self.fault = fault

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.act(self.stem(x)))
        x = self.shuffle(self.mix(x))
        x = F.relu(self.after(self.norm(x)))
        x = self.up(self.down(x))
        x = F.relu(self.last(x))
        return self.head(x.mean((2, 3)))


MODULES: dict[str, tuple[str, ...]] = {
    "up": ("up",),
    "act": ("act",),
    "shuffle": ("shuffle",),
    "norm": ("norm", "after"),
    "pool": ("pool",),
}
"""The modules at fault by the fault's name. A batch norm that is folded forward is one op with the convolution."""


def make(fault: str = "") -> nn.Module:
    """Return the net with seeded weights, the same for all faults."""
    torch.manual_seed(0)
    net = Net(fault).eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.mul_(1.7)
        norm = net.norm
        norm.weight.uniform_(0.5, 1.5), norm.bias.uniform_(-1, 1)
        norm.running_mean.uniform_(-1, 1), norm.running_var.uniform_(0.5, 2)
        if fault == "norm":
            fold_forward(net)
    return net


def fold_forward(net: Any) -> None:
    """Fold the batch norm into the convolution after it, as if that had no zeros around its input."""
    norm, conv = net.norm, net.after
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shift = norm.bias - norm.running_mean * scale
    conv.bias.add_((conv.weight.sum((2, 3)) * shift).sum(1))
    conv.weight.mul_(scale[None, :, None, None])
    net.norm = nn.Identity()
