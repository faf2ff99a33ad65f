"""GhostNet, and the backbone that GhostNetV2 shares with it.

Sources: GhostNet, arXiv 1911.11907 (module: section 3.1; architecture: table 1); GhostNetV2, arXiv 2211.12905. Names
of parameters are those of the official code (huawei-noah/Efficient-AI-Backbones), apart from the attention's.
"""

from __future__ import annotations

import math
import re
from typing import get_args

import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.models.dfc import DFCAttention, DFCOptions
from mobilekit.models.layers import ConvBnAct, Rounding, SqueezeExcite, make_divisible
from mobilekit.models.registry import ModelEntry, Published, register

# Table 1: kernel, expansion, out channels, SE ratio (0 for none), stride; one list a stage.
STAGES: tuple[tuple[tuple[int, int, int, float, int], ...], ...] = (
    ((3, 16, 16, 0, 1),),
    ((3, 48, 24, 0, 2),),
    ((3, 72, 24, 0, 1),),
    ((5, 72, 40, 0.25, 2),),
    ((5, 120, 40, 0.25, 1),),
    ((3, 240, 80, 0, 2),),
    ((3, 200, 80, 0, 1), (3, 184, 80, 0, 1), (3, 184, 80, 0, 1), (3, 480, 112, 0.25, 1), (3, 672, 112, 0.25, 1)),
    ((5, 672, 160, 0.25, 2),),
    ((5, 960, 160, 0, 1), (5, 960, 160, 0.25, 1), (5, 960, 160, 0, 1), (5, 960, 160, 0.25, 1)),
)
STEM_CHANNELS = 16
LAST_EXPANSION = 960
FIRST_BLOCK_WITH_ATTENTION = 2
# The stages that halve the map: their outputs, and the stem's before its batch norm, are timm's `features_only`.
FEATURE_STAGES = tuple(index for index, rows in enumerate(STAGES) if rows[-1][-1] > 1)


class GhostModule(nn.Module):
    """Half of the features by a 1x1 convolution, half by a depthwise one on those: (N, in, H, W) to (N, out, H, W).

    Source: GhostNet, equation 3, with s = 2 and d = 3. With `attention`, the output is multiplied by the gate that DFC
    attention makes of the same input (GhostNetV2, equation 6).
    """

    def __init__(
        self, in_channels: int, out_channels: int, relu: bool = True, attention: DFCAttention | None = None
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        primary = math.ceil(out_channels / 2)
        self.primary_conv = ConvBnAct(in_channels, primary, 1, relu=relu)
        self.cheap_operation = ConvBnAct(primary, primary, 3, groups=primary, relu=relu)
        self.attention = attention

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the ghost features, gated where the module has attention."""
        primary = self.primary_conv(x)
        features = torch.cat([primary, self.cheap_operation(primary)], dim=1)[:, : self.out_channels]
        return features if self.attention is None else features * self.attention(x)


class GhostBottleneck(nn.Module):
    """Ghost module, strided depthwise convolution, squeeze and excite, ghost module, and a shortcut.

    Source: GhostNet, section 3.2 and figure 3.
    """

    def __init__(
        self,
        in_channels: int,
        expansion: int,
        out_channels: int,
        kernel: int,
        stride: int,
        se: SqueezeExcite | None,
        attention: DFCAttention | None,
    ) -> None:
        super().__init__()
        self.ghost1 = GhostModule(in_channels, expansion, attention=attention)
        if stride > 1:
            self.conv_dw = nn.Conv2d(
                expansion, expansion, kernel, stride, (kernel - 1) // 2, groups=expansion, bias=False
            )
            self.bn_dw = nn.BatchNorm2d(expansion)
        self.stride = stride
        self.se = se
        self.ghost2 = GhostModule(expansion, out_channels, relu=False)
        if in_channels == out_channels and stride == 1:
            self.shortcut = nn.Sequential()
        else:
            padding = (kernel - 1) // 2
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, in_channels, kernel, stride, padding, groups=in_channels, bias=False),
                nn.BatchNorm2d(in_channels),
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in, H, W) to (N, out, H / stride, W / stride)."""
        features = self.ghost1(x)
        if self.stride > 1:
            features = self.bn_dw(self.conv_dw(features))
        if self.se is not None:
            features = self.se(features)
        out: torch.Tensor = self.ghost2(features) + self.shortcut(x)
        return out


class StageConv(nn.Module):
    """The 1x1 convolution, batch norm and ReLU after the last bottleneck."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in, H, W) to (N, out, H, W)."""
        out: torch.Tensor = self.act(self.bn1(self.conv(x)))
        return out


class GhostNet(nn.Module):
    """GhostNet, and GhostNetV2 where `dfc` is given: images (N, in_channels, H, W) to raw logits (N, num_classes).

    Args:
        width: Multiplies the channels of every stage (not the resolution).
        stem_stride: 2 in the papers; 1 suits inputs of 32 pixels.
        head_channels: Features before the classifier; 1280 in the papers at every width.
        se_rounding: How SE's inner channels are rounded: to the nearest multiple of 4 (official PyTorch code), or up.
        dfc: Puts DFC attention beside the first ghost module of each bottleneck from the third on.
        input_size: Height and width of the input; only dense DFC weights need it.
        features_only: The model returns `features` in place of logits, and has no module behind the last of them.
    """

    def __init__(
        self,
        width: float = 1.0,
        num_classes: int = 1000,
        in_channels: int = 3,
        stem_stride: int = 2,
        head_channels: int = 1280,
        se_rounding: Rounding = "nearest",
        dfc: DFCOptions | None = None,
        input_size: int = 224,
        features_only: bool = False,
    ) -> None:
        super().__init__()
        if width <= 0:
            raise ValueError(f"width is {width}, not positive")
        if se_rounding not in get_args(Rounding):
            raise ValueError(f"se_rounding is {se_rounding!r}, not one of {', '.join(get_args(Rounding))}")
        stem = make_divisible(STEM_CHANNELS * width)
        self.conv_stem = nn.Conv2d(in_channels, stem, 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.act1 = nn.ReLU()

        self.features_only = features_only
        stages = _stages(width, stem, _halved(input_size, stem_stride), se_rounding, dfc)
        if features_only:
            self.blocks = nn.Sequential(*stages[: FEATURE_STAGES[-1] + 1])
            return
        last = make_divisible(LAST_EXPANSION * width)
        self.blocks = nn.Sequential(*stages, nn.Sequential(StageConv(make_divisible(STAGES[-1][-1][2] * width), last)))
        self.conv_head = nn.Conv2d(last, head_channels, 1)
        self.act2 = nn.ReLU()
        self.classifier = nn.Linear(head_channels, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return raw logits (N, num_classes), or with `features_only` the maps of `features`."""
        if self.features_only:
            return self.features(x)
        x = self.blocks(self.act1(self.bn1(self.conv_stem(x))))
        x = self.act2(self.conv_head(F.adaptive_avg_pool2d(x, 1)))
        logits: torch.Tensor = self.classifier(x.flatten(1))
        return logits

    def features(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return one map for each stride: (N, C, H / s, W / s) for s = 2, 4, 8, 16, 32, at a stem stride of 2.

        They are those of timm's `features_only`: the stem's convolution, before its batch norm, and the stage that
        reaches each further stride. With width 1, C is 16, 24, 40, 80, 160.
        """
        x = self.conv_stem(x)
        maps = [x]
        x = self.act1(self.bn1(x))
        for index in range(FEATURE_STAGES[-1] + 1):
            x = self.blocks[index](x)
            if index in FEATURE_STAGES:
                maps.append(x)
        return tuple(maps)

    def translate_checkpoint(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the tensors of huawei's or timm's checkpoints, whose names are the same, under our names.

        With `features_only`, those of the modules that are left out are dropped.
        """
        translated = {translate_key(key): tensor for key, tensor in state.items()}
        if not self.features_only:
            return translated
        absent = (
            "conv_head.",
            "classifier.",
            *(f"blocks.{index}." for index in range(len(self.blocks), len(STAGES) + 1)),
        )
        return {key: tensor for key, tensor in translated.items() if not key.startswith(absent)}


def _stages(width: float, channels: int, size: int, se_rounding: Rounding, dfc: DFCOptions | None) -> list[nn.Module]:
    """Return the stages of bottlenecks, for an input of `channels` and of height and width `size`."""
    index = 0
    stages: list[nn.Module] = []
    for rows in STAGES:
        blocks = []
        for kernel, expansion, out, se_ratio, stride in rows:
            hidden, out = make_divisible(expansion * width), make_divisible(out * width)
            se = SqueezeExcite(hidden, se_ratio, se_rounding) if se_ratio else None
            attends = dfc is not None and index >= FIRST_BLOCK_WITH_ATTENTION
            attention = DFCAttention(channels, hidden, dfc, size) if dfc and attends else None
            blocks.append(GhostBottleneck(channels, hidden, out, kernel, stride, se, attention))
            channels, size, index = out, _halved(size, stride), index + 1
        stages.append(nn.Sequential(*blocks))
    return stages


# The official code has GhostNetV2's attention in one Sequential, `short_conv`: its members by position.
_SHORT_CONV = {
    "0": "project",
    "1": "project_bn",
    "2": "horizontal",
    "3": "horizontal_bn",
    "4": "vertical",
    "5": "vertical_bn",
}


def translate_key(key: str) -> str:
    """Return our name of a parameter that the official code names otherwise; other names stay."""
    return re.sub(r"\.short_conv\.([0-5])\.", lambda match: f".attention.{_SHORT_CONV[match[1]]}.", key)


def _halved(size: int, stride: int) -> int:
    """Return the size after a convolution with this stride and 'same' padding."""
    return -(-size // stride)


def ghostnet(
    width: float = 1.0,
    num_classes: int = 1000,
    in_channels: int = 3,
    stem_stride: int = 2,
    head_channels: int = 1280,
    se_rounding: Rounding = "nearest",
    features_only: bool = False,
) -> GhostNet:
    """Build GhostNet; see `GhostNet` for the options."""
    return GhostNet(
        width=width,
        num_classes=num_classes,
        in_channels=in_channels,
        stem_stride=stem_stride,
        head_channels=head_channels,
        se_rounding=se_rounding,
        features_only=features_only,
    )


_PAPER = "GhostNet: More Features from Cheap Operations, arXiv 1911.11907"
_SOURCE = "arXiv 1911.11907, ImageNet results"

register(
    ModelEntry(
        name="ghostnet_050",
        build=ghostnet,
        paper=_PAPER,
        published=Published(params=2_600_000, macs=42_000_000, top1=66.2, source=_SOURCE),
        defaults={"width": 0.5},
    )
)
register(
    ModelEntry(
        name="ghostnet",
        build=ghostnet,
        paper=_PAPER,
        published=Published(params=5_200_000, macs=141_000_000, top1=73.9, source=_SOURCE),
        defaults={"width": 1.0},
    )
)
register(
    ModelEntry(
        name="ghostnet_130",
        build=ghostnet,
        paper=_PAPER,
        published=Published(params=7_300_000, macs=226_000_000, top1=75.7, source=_SOURCE),
        defaults={"width": 1.3},
    )
)
