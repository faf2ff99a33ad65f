"""EfficientViT as released: B0 to B3, with multi-scale linear attention.

Sources: EfficientViT, arXiv 2205.14756, its later versions, and the authors' code, mit-han-lab/efficientvit. Names of
parameters are timm's. `efficientvit_v1.py` has the paper's first version.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.models.linear_attention import EPS, ReLULinearAttention
from mobilekit.models.registry import ModelEntry, Published, register

FIRST_ATTENTION_STAGE = 3
EXPANSION = 4
AGGREGATION_KERNELS = (5,)
HARD_SWISH_GAIN = 1.7367  # one over the root mean square of Hard-Swish of a standard normal variable


class ConvLayer(nn.Module):
    """Convolution, batch norm and Hard-Swish, the last two where asked for: (N, in, H, W) to (N, out, H/s, W/s)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
        norm: bool = True,
        act: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=bias)
        self.norm = nn.BatchNorm2d(out_channels) if norm else nn.Identity()
        self.act = nn.Hardswish() if act else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features."""
        out: torch.Tensor = self.act(self.norm(self.conv(x)))
        return out


class DSConv(nn.Sequential):
    """Depthwise convolution, then a 1x1 without activation: (N, C, H, W) to the same shape."""

    def __init__(self, channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.depth_conv = ConvLayer(channels, channels, kernel, groups=channels)
        self.point_conv = ConvLayer(channels, channels, act=False)


class MBConv(nn.Sequential):
    """1x1 expansion, depthwise convolution, 1x1 projection: (N, in, H, W) to (N, out, H/s, W/s).

    After attention this is the feed-forward network; the depthwise convolution gives it the local information that
    linear attention lacks.

    Args:
        inner_norms: Batch norms after the first two convolutions; without them, these have a bias, and start with
            weights that keep the variance (He et al., arXiv 1502.01852) as a batch norm would: PyTorch's default
            weights shrink it, to where Hard-Swish is a straight line.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, inner_norms: bool = True
    ) -> None:
        super().__init__()
        hidden, bias = in_channels * EXPANSION, not inner_norms
        self.inverted_conv = ConvLayer(in_channels, hidden, bias=bias, norm=inner_norms)
        self.depth_conv = ConvLayer(hidden, hidden, kernel, stride, groups=hidden, bias=bias, norm=inner_norms)
        self.point_conv = ConvLayer(hidden, out_channels, act=False)
        if not inner_norms:
            keep_variance(self.inverted_conv.conv, 1.0)
            keep_variance(self.depth_conv.conv, HARD_SWISH_GAIN)


class Residual(nn.Module):
    """`main(x) + shortcut(x)`, or `main(x)` alone where there is no shortcut."""

    def __init__(self, main: nn.Module, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.main = main
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sum."""
        out: torch.Tensor = self.main(x)
        return out if self.shortcut is None else out + self.shortcut(x)


class Attention(nn.Module):
    """ReLU linear attention over the pixels of a map, without position bias. Input and output: (N, C, H, W).

    Multi-scale, in the later versions: a depthwise and a grouped 1x1 convolution make tokens of neighborhoods from the
    plain queries, keys and values, and each scale has heads of its own. The authors' code computes V (K^T Q) instead of
    (V K^T) Q where a map has no more pixels than `head_dim`: the same function, so it is left out here.

    Args:
        heads: Of `head_dim` channels each, at each scale.
        kernels: Of the depthwise convolutions, one for each scale beside the plain one.
        eps: See `ReLULinearAttention`.
    """

    def __init__(self, channels: int, heads: int, head_dim: int, kernels: Sequence[int] = (), eps: float = EPS) -> None:
        super().__init__()
        if heads < 1:
            raise ValueError(f"{channels} channels do not make a head of {head_dim}")
        inner = heads * head_dim
        self.head_dim = head_dim
        self.qkv = ConvLayer(channels, 3 * inner, norm=False, act=False)
        self.aggreg = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(3 * inner, 3 * inner, kernel, padding=kernel // 2, groups=3 * inner, bias=False),
                nn.Conv2d(3 * inner, 3 * inner, 1, groups=3 * heads, bias=False),
            )
            for kernel in kernels
        )
        self.attention = ReLULinearAttention(eps)
        self.proj = ConvLayer(inner * (1 + len(kernels)), channels, act=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the projected output of all heads."""
        batch, height, width = x.shape[0], x.shape[2], x.shape[3]
        qkv = self.qkv(x)
        scales = torch.cat([qkv, *(aggregate(qkv) for aggregate in self.aggreg)], dim=1)
        heads = scales.reshape(batch, -1, 3 * self.head_dim, height * width)
        query, key, value = heads.chunk(3, dim=2)
        seen = self.attention(query, key, value)
        out: torch.Tensor = self.proj(seen.reshape(batch, -1, height, width))
        return out


class AttentionBlock(nn.Sequential):
    """Attention for the context, MBConv for the surroundings, each with a shortcut. Input and output: (N, C, H, W)."""

    def __init__(self, attention: Attention, feed_forward: MBConv) -> None:
        super().__init__()
        self.context_module = Residual(attention, nn.Identity())
        self.local_module = Residual(feed_forward, nn.Identity())


class Head(nn.Module):
    """1x1 convolution, mean over space, `classifier`: (N, C, H, W) to what the classifier makes of (N, hidden)."""

    def __init__(self, channels: int, hidden: int, classifier: nn.Module) -> None:
        super().__init__()
        self.in_conv = ConvLayer(channels, hidden)
        self.classifier = classifier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        out: torch.Tensor = self.classifier(F.adaptive_avg_pool2d(self.in_conv(x), 1).flatten(1))
        return out


class Backbone(nn.Module):
    """Stem, four stages and a head: images (N, in_channels, H, W) to raw logits (N, num_classes).

    Without a checkpoint, the branches beside identities begin at a share of their inputs: see `damp_branches`.
    """

    def __init__(self, stem: nn.Module, stages: Sequence[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.Sequential(*stages)
        self.head = head
        damp_branches(self)

    def features(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return P2, P3 and P4, the outputs of the last three stages at 1/8, 1/16 and 1/32 of the size of `x`."""
        x = self.stem(x)
        maps = [x := stage(x) for stage in self.stages]
        return tuple(maps[1:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return raw logits."""
        logits: torch.Tensor = self.head(self.features(x)[-1])
        return logits


class EfficientViT(Backbone):
    """The released family. Sizes of inputs are meant to be multiples of 32, the stride of the last stage.

    Args:
        widths: Channels of the stem and of the four stages.
        depths: Blocks of each. The block that halves the map is one of them in the stem and in stages 1 and 2, and
            comes before them in stages 3 and 4.
        head_dim: Channels of an attention head.
        head_widths: Channels of the classifier's two hidden layers.
        eps: See `ReLULinearAttention`.
    """

    def __init__(
        self,
        widths: Sequence[int],
        depths: Sequence[int],
        head_dim: int,
        head_widths: Sequence[int],
        num_classes: int = 1000,
        in_channels: int = 3,
        eps: float = EPS,
    ) -> None:
        check_counts("widths", widths, 5)
        check_counts("depths", depths, 5)
        check_counts("head_widths", head_widths, 2)
        if head_dim < 1:
            raise ValueError(f"head_dim is {head_dim}, not positive")
        stages = [
            conv_stage(before, width, depth)
            if number < FIRST_ATTENTION_STAGE
            else attention_stage(before, width, depth, head_dim, eps)
            for number, ((before, width), depth) in enumerate(zip(pairwise(widths), depths[1:], strict=True), start=1)
        ]
        hidden, last = head_widths
        classifier = nn.Sequential(
            nn.Linear(hidden, last, bias=False),
            nn.LayerNorm(last),
            nn.Hardswish(),
            nn.Dropout(0.0),  # off, and has its place in the names
            nn.Linear(last, num_classes),
        )
        super().__init__(make_stem(in_channels, widths[0], depths[0]), stages, Head(widths[-1], hidden, classifier))

    def translate_checkpoint(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the tensors of mit-han-lab's or timm's checkpoints under our names, which are timm's."""
        return {translate_key(key): tensor for key, tensor in state.items()}


def keep_variance(conv: nn.Conv2d, gain: float) -> None:
    """Draw weights with which outputs have the variance that inputs had before they shrank by `gain`; no bias."""
    nn.init.normal_(conv.weight, std=gain / math.sqrt(conv.weight[0].numel()))
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)


def damp_branches(model: nn.Module) -> None:
    """Set gamma of the last batch norm of each of n branches beside identities to 1 / sqrt(n).

    Together they then add as much variance as there was before them. The authors' training begins with gamma 0, which
    would leave nothing of the branches. PyTorch's 1 lets untrained attention multiply the differences between images
    from block to block: it gives each token about the mean of all, and the batch norm after it scales what little the
    means of a few images differ to the size of the features.
    """
    branches = [
        module.main
        for module in model.modules()
        if isinstance(module, Residual) and type(module.shortcut) is nn.Identity
    ]
    for branch in branches:
        norm = [module for module in branch.modules() if isinstance(module, nn.BatchNorm2d)][-1]
        nn.init.constant_(norm.weight, 1 / math.sqrt(len(branches)))


def check_counts(name: str, values: Sequence[int], count: int) -> None:
    """Raise ValueError unless there are `count` positive values."""
    if len(values) != count or min(values) < 1:
        raise ValueError(f"{name} is {list(values)}, not {count} positive numbers")


def make_stem(in_channels: int, width: int, depth: int) -> nn.Sequential:
    """Build the 3x3 convolution with stride 2, and `depth` depthwise separable ones."""
    blocks = {f"res{i}": Residual(DSConv(width), nn.Identity()) for i in range(depth)}
    return nn.Sequential(OrderedDict(in_conv=ConvLayer(in_channels, width, 3, 2), **blocks))


def make_stage(blocks: Sequence[nn.Module]) -> nn.Sequential:
    """Put the blocks under the name that timm gives them."""
    return nn.Sequential(OrderedDict(blocks=nn.Sequential(*blocks)))


def conv_stage(in_channels: int, width: int, depth: int) -> nn.Sequential:
    """Build `depth` MBConvs, the first of which halves the map and has no shortcut."""
    first = Residual(MBConv(in_channels, width, stride=2), None)
    return make_stage([first, *(Residual(MBConv(width, width), nn.Identity()) for _ in range(depth - 1))])


def attention_stage(in_channels: int, width: int, depth: int, head_dim: int, eps: float) -> nn.Sequential:
    """Build an MBConv that halves the map, and `depth` attention blocks."""
    first = Residual(MBConv(in_channels, width, stride=2, inner_norms=False), None)
    blocks = [
        AttentionBlock(
            Attention(width, width // head_dim, head_dim, AGGREGATION_KERNELS, eps),
            MBConv(width, width, inner_norms=False),
        )
        for _ in range(depth)
    ]
    return make_stage([first, *blocks])


_MIT_NAMES = (
    (r"^backbone\.input_stem\.op_list\.0\.", lambda _: "stem.in_conv."),
    (r"^backbone\.input_stem\.op_list\.(\d+)\.", lambda match: f"stem.res{int(match[1]) - 1}."),
    (r"^backbone\.stages\.(\d+)\.op_list\.(\d+)\.", lambda match: f"stages.{match[1]}.blocks.{match[2]}."),
    (r"^head\.op_list\.0\.", lambda _: "head.in_conv."),
    (r"^head\.op_list\.2\.linear\.", lambda _: "head.classifier.0."),
    (r"^head\.op_list\.2\.norm\.", lambda _: "head.classifier.1."),
    (r"^head\.op_list\.3\.linear\.", lambda _: "head.classifier.4."),
)


def translate_key(key: str) -> str:
    """Return our name of a parameter of mit-han-lab's code; other names stay."""
    for pattern, name in _MIT_NAMES:
        key = re.sub(pattern, name, key)
    return key


_PAPER = "EfficientViT: Multi-Scale Linear Attention for High-Resolution Dense Prediction, arXiv 2205.14756"
_PHONE = "Snapdragon 8 Gen 1"
_SOURCE = "mit-han-lab/efficientvit, ImageNet at 224"

register(
    ModelEntry(
        name="efficientvit_b0",
        build=EfficientViT,
        paper=_PAPER,
        published=Published(top1=71.408, source="timm's evaluation"),
        defaults={
            "widths": (8, 16, 32, 64, 128),
            "depths": (1, 2, 2, 2, 2),
            "head_dim": 16,
            "head_widths": (1024, 1280),
        },
    )
)
register(
    ModelEntry(
        name="efficientvit_b1",
        build=EfficientViT,
        paper=_PAPER,
        published=Published(
            params=9_100_000, macs=520_000_000, top1=79.39, phone_latency_ms=19.0, phone=_PHONE, source=_SOURCE
        ),
        defaults={
            "widths": (16, 32, 64, 128, 256),
            "depths": (1, 2, 3, 3, 4),
            "head_dim": 16,
            "head_widths": (1536, 1600),
        },
    )
)
register(
    ModelEntry(
        name="efficientvit_b2",
        build=EfficientViT,
        paper=_PAPER,
        published=Published(
            params=24_000_000, macs=1_600_000_000, top1=82.1, phone_latency_ms=55.0, phone=_PHONE, source=_SOURCE
        ),
        defaults={
            "widths": (24, 48, 96, 192, 384),
            "depths": (1, 3, 4, 4, 6),
            "head_dim": 32,
            "head_widths": (2304, 2560),
        },
    )
)
register(
    ModelEntry(
        name="efficientvit_b3",
        build=EfficientViT,
        paper=_PAPER,
        published=Published(
            params=49_000_000, macs=4_000_000_000, top1=83.5, phone_latency_ms=140.0, phone=_PHONE, source=_SOURCE
        ),
        defaults={
            "widths": (32, 64, 128, 256, 512),
            "depths": (1, 4, 6, 6, 9),
            "head_dim": 32,
            "head_widths": (2304, 2560),
        },
    )
)
