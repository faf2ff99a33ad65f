"""EfficientViT as its paper's first version describes it: linear attention at one scale, about 400M MACs.

Source: EfficientViT, arXiv 2205.14756, first version (2022). Neither code nor checkpoints of it were released.

What the text says: C0..C4 = 16, 24, 48, 96, 192; L1..L4 = 2, 3, 5, 2; expansion 4; kernel 5 but for the stem;
Hard-Swish everywhere; downsample blocks whose shortcut is an average pool and a 1x1 convolution; ReLU linear attention
without position bias from stage 3 on, with a depthwise convolution inside the feed-forward network; MobileNetV3's head
on P4.

What it leaves open, and what is assumed here:

- Whether a downsample block counts among the L blocks of stages 1 and 2: it comes before them (`downsample: extra`).
- The number of attention heads: twice as many of `head_dim` 16 as the channels make (`attention_width: 2`).
- The stem: the strided 3x3 convolution and one depthwise separable one, as in the released code (`stem_depth: 1`).
- The head: 6 C4 = 1152 channels, as MobileNetV3-Large has 6 times its last width, then 1280 (`head_widths`).
- Batch norms: after every convolution but the one that makes queries, keys and values, as in the released code.

These give 5.28M parameters and 406M MACs at 224; the text says about 400M. With `downsample: counted` it is 366M; with
`attention_width: 1`, 352M; with both, 312M.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from torch import nn

from mobilekit.models.families.efficientvit import (
    FIRST_ATTENTION_STAGE,
    Attention,
    AttentionBlock,
    Backbone,
    Head,
    MBConv,
    Residual,
    check_counts,
    make_stage,
    make_stem,
)
from mobilekit.models.linear_attention import EPS
from mobilekit.models.registry import ModelEntry, Published, register

STEM_CHANNELS = 16
# Channels and blocks of the four stages: C1..C4 and L1..L4.
STAGES = ((24, 2), (48, 3), (96, 5), (192, 2))
KERNEL = 5

Downsample = Literal["extra", "counted"]


class EfficientViTV1(Backbone):
    """The first version, for inputs whose sizes are divisible by 32: the average pools halve no odd size.

    Args:
        downsample: `extra`: before a stage's L blocks; `counted`: one of them in stages 1 and 2.
        attention_width: Channels of all heads together, over the channels of the stage.
        head_dim: Channels of an attention head.
        stem_depth: Depthwise separable convolutions in the stem.
        head_widths: Channels of the classifier's two hidden layers.
        eps: See `ReLULinearAttention`.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        downsample: Downsample = "extra",
        attention_width: int = 2,
        head_dim: int = 16,
        stem_depth: int = 1,
        head_widths: Sequence[int] = (1152, 1280),
        eps: float = EPS,
    ) -> None:
        if downsample not in get_args(Downsample):
            raise ValueError(f"downsample is {downsample!r}, not one of {', '.join(get_args(Downsample))}")
        for name, value in (("attention_width", attention_width), ("head_dim", head_dim)):
            if value < 1:
                raise ValueError(f"{name} is {value}, not positive")
        if stem_depth < 0:
            raise ValueError(f"stem_depth is {stem_depth}, negative")
        check_counts("head_widths", head_widths, 2)
        channels, stages = STEM_CHANNELS, []
        for number, (width, depth) in enumerate(STAGES, start=1):
            blocks: list[nn.Module] = [downsample_block(channels, width)]
            if number < FIRST_ATTENTION_STAGE:
                count = depth if downsample == "extra" else depth - 1
                blocks += [Residual(MBConv(width, width, KERNEL), nn.Identity()) for _ in range(count)]
            else:
                heads = attention_width * width // head_dim
                blocks += [
                    AttentionBlock(Attention(width, heads, head_dim, eps=eps), MBConv(width, width, KERNEL))
                    for _ in range(depth)
                ]
            stages.append(make_stage(blocks))
            channels = width
        hidden, last = head_widths
        classifier = nn.Sequential(nn.Linear(hidden, last), nn.Hardswish(), nn.Linear(last, num_classes))
        super().__init__(make_stem(in_channels, STEM_CHANNELS, stem_depth), stages, Head(channels, hidden, classifier))


def downsample_block(in_channels: int, out_channels: int) -> Residual:
    """Build an MBConv with stride 2 beside an average pool and a 1x1: (N, in, H, W) to (N, out, H / 2, W / 2)."""
    shortcut = nn.Sequential(
        nn.AvgPool2d(2), nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
    )
    return Residual(MBConv(in_channels, out_channels, KERNEL, stride=2), shortcut)


_SOURCE = "arXiv 2205.14756, first version: about 400M; what it leaves open is assumed (see efficientvit_v1.py)"

register(
    ModelEntry(
        name="efficientvit",
        build=EfficientViTV1,
        paper=(
            "EfficientViT: Enhanced Linear Attention for High-Resolution Low-Computation Visual Recognition, "
            "arXiv 2205.14756, first version"
        ),
        published=Published(macs=400_000_000, source=_SOURCE),
    )
)
