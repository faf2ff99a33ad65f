"""ShuffleNet as megvii, jaxony and pytorchcv have it: their names, their order of steps, and nothing of ours.

Written from the facts that their code shows, not copied. All take images of any size: where theirs pool 7x7 at the end,
these take the mean.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

STAGE2 = {1: 144, 3: 240, 8: 384}
REPEATS = (4, 8, 4)


def by_rows(x: torch.Tensor, rows: int) -> torch.Tensor:
    """Write the channels into a matrix with so many rows, and read it column by column."""
    columns = x.shape[1] // rows
    return x[:, [row * columns + column for column in range(columns) for row in range(rows)]]


def plan(groups: int) -> list[tuple[int, int, int, int, int]]:
    """Return stage, unit, channels in and out, and the first convolution's groups, one row a unit."""
    rows, channels = [], 24
    for stage, repeats in enumerate(REPEATS):
        for unit in range(repeats):
            out = STAGE2[groups] * 2**stage
            rows.append((stage, unit, channels, out, 1 if stage == unit == 0 else groups))
            channels = out
    return rows


class MegviiUnit(nn.Module):
    """The shuffle between two Sequentials, ReLU on the convolved part alone."""

    def __init__(self, channels: int, out: int, first: int, groups: int, swap: bool) -> None:
        super().__init__()
        middle, self.strided = out // 4, channels != out
        self.rows = groups if swap else middle // groups
        self.branch_main_1 = nn.Sequential(
            nn.Conv2d(channels, middle, 1, groups=first, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            nn.Conv2d(middle, middle, 3, 1 + self.strided, 1, groups=middle, bias=False),
            nn.BatchNorm2d(middle),
        )
        added = out - channels if self.strided else out
        self.branch_main_2 = nn.Sequential(
            nn.Conv2d(middle, added, 1, groups=groups, bias=False), nn.BatchNorm2d(added)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to (N, out, H / stride, W / stride)."""
        y = self.branch_main_2(by_rows(self.branch_main_1(x), self.rows))
        if self.strided:
            return torch.cat([F.avg_pool2d(x, 3, 2, 1), y.relu()], 1)
        return (x + y).relu()


class Megvii(nn.Module):
    """One list of units, the shuffle after the depthwise convolution, and no bias anywhere.

    Args:
        swap: Shuffle the other way round than megvii's code does: a fault to be noticed.
    """

    def __init__(self, groups: int, classes: int, swap: bool = False) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.features = nn.Sequential(
            *(MegviiUnit(channels, out, first, groups, swap) for _, _, channels, out, first in plan(groups))
        )
        self.classifier = nn.Sequential(nn.Linear(4 * STAGE2[groups], classes, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, classes)."""
        x = self.features(F.max_pool2d(self.first_conv(x), 3, 2, 1))
        return self.classifier(x.mean((2, 3)))


class JaxonyUnit(nn.Module):
    """Biases beside every batch norm."""

    def __init__(self, channels: int, out: int, first: int, groups: int, swap: bool) -> None:
        super().__init__()
        middle, self.strided = out // 4, channels != out
        added = out - channels if self.strided else out
        self.rows = middle // groups if swap else groups
        self.g_conv_1x1_compress = nn.Sequential()
        self.g_conv_1x1_compress.add_module("conv1x1", nn.Conv2d(channels, middle, 1, groups=first))
        self.g_conv_1x1_compress.add_module("batch_norm", nn.BatchNorm2d(middle))
        self.depthwise_conv3x3 = nn.Conv2d(middle, middle, 3, 1 + self.strided, 1, groups=middle)
        self.bn_after_depthwise = nn.BatchNorm2d(middle)
        self.g_conv_1x1_expand = nn.Sequential()
        self.g_conv_1x1_expand.add_module("conv1x1", nn.Conv2d(middle, added, 1, groups=groups))
        self.g_conv_1x1_expand.add_module("batch_norm", nn.BatchNorm2d(added))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to (N, out, H / stride, W / stride)."""
        y = by_rows(self.g_conv_1x1_compress(x).relu(), self.rows)
        y = self.g_conv_1x1_expand(self.bn_after_depthwise(self.depthwise_conv3x3(y)))
        return (torch.cat([F.avg_pool2d(x, 3, 2, 1), y], 1) if self.strided else x + y).relu()


class Jaxony(nn.Module):
    """Biases everywhere, a stem without batch norm or ReLU, and log-softmax at the end."""

    def __init__(self, groups: int, classes: int, swap: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 24, 3, 2, 1)
        self.stage2, self.stage3, self.stage4 = nn.Sequential(), nn.Sequential(), nn.Sequential()
        for stage, unit, channels, out, first in plan(groups):
            self.get_submodule(f"stage{stage + 2}").add_module(
                f"ShuffleUnit_Stage{stage + 2}_{unit}", JaxonyUnit(channels, out, first, groups, swap)
            )
        self.fc = nn.Linear(4 * STAGE2[groups], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return log-probabilities (N, classes)."""
        x = F.max_pool2d(self.conv1(x), 3, 2, 1)
        x = self.stage4(self.stage3(self.stage2(x)))
        return torch.log_softmax(self.fc(x.mean((2, 3))), 1)


class PytorchcvUnit(nn.Module):
    """One attribute a layer."""

    def __init__(self, channels: int, out: int, first: int, groups: int, swap: bool) -> None:
        super().__init__()
        middle, self.strided = out // 4, channels != out
        added = out - channels if self.strided else out
        self.rows = middle // groups if swap else groups
        self.compress_conv1 = nn.Conv2d(channels, middle, 1, groups=first, bias=False)
        self.compress_bn1 = nn.BatchNorm2d(middle)
        self.dw_conv2 = nn.Conv2d(middle, middle, 3, 1 + self.strided, 1, groups=middle, bias=False)
        self.dw_bn2 = nn.BatchNorm2d(middle)
        self.expand_conv3 = nn.Conv2d(middle, added, 1, groups=groups, bias=False)
        self.expand_bn3 = nn.BatchNorm2d(added)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to (N, out, H / stride, W / stride)."""
        y = by_rows(self.compress_bn1(self.compress_conv1(x)).relu(), self.rows)
        y = self.expand_bn3(self.expand_conv3(self.dw_bn2(self.dw_conv2(y))))
        return (torch.cat([y, F.avg_pool2d(x, 3, 2, 1)], 1) if self.strided else y + x).relu()


class Pytorchcv(nn.Module):
    """The pooled part last in every concatenation."""

    def __init__(self, groups: int, classes: int, swap: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential()
        init = nn.Sequential()
        init.add_module("conv", nn.Conv2d(3, 24, 3, 2, 1, bias=False))
        init.add_module("bn", nn.BatchNorm2d(24))
        self.features.add_module("init_block", init)
        for stage in range(3):
            self.features.add_module(f"stage{stage + 1}", nn.Sequential())
        for stage, unit, channels, out, first in plan(groups):
            self.features.get_submodule(f"stage{stage + 1}").add_module(
                f"unit{unit + 1}", PytorchcvUnit(channels, out, first, groups, swap)
            )
        self.output = nn.Linear(4 * STAGE2[groups], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, classes)."""
        init, *stages = self.features
        x = F.max_pool2d(init(x).relu(), 3, 2, 1)
        for stage in stages:
            x = stage(x)
        return self.output(x.mean((2, 3)))


def randomize(model: nn.Module, seed: int) -> nn.Module:
    """Give every parameter and every batch norm statistic a random value, in float64 and evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    model.double().eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                continue
            values = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            if tensor.ndim > 1:
                values /= tensor[0].numel() ** 0.5
            elif name.endswith(("running_var", "weight")):
                values = 0.5 + 0.5 * values.abs()
            else:
                values *= 0.3
            tensor.copy_(values)
    return model
