"""ShuffleNet: grouped 1x1 convolutions, and channels shuffled between their groups.

Source: ShuffleNet, arXiv 1707.01083 (unit: section 3.2 and figure 2; architecture: table 1). Its sources differ in four
points, which are options; `DIALECTS` says which code base's checkpoints need which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.errors import UsageError
from mobilekit.models.layers import ConvBnAct
from mobilekit.models.registry import ModelEntry, Published, register

Shuffle = Literal["before-depthwise", "after-depthwise"]
Concat = Literal["pool-first", "main-first"]
Stem = Literal["bn-relu", "bare"]
Head = Literal["logits", "log_softmax"]
State = dict[str, torch.Tensor]

# Table 1: channels of stage 2 by number of groups (they double with each stage), and units a stage.
STAGE2_CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
UNITS = (4, 8, 4)
SCALES = (0.25, 0.5, 1.0, 1.5, 2.0)


def channel_shuffle(x: torch.Tensor, groups: int) -> torch.Tensor:
    """Deal each group's channels out to all groups: channel i of group j becomes channel j of block i; (N, C, H, W).

    Source: section 3.1. Its inverse is the shuffle with C / groups groups.
    """
    batch, channels, height, width = x.shape
    return x.view(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)


def stage2_channels(groups: int, scale: float) -> int:
    """Return the channels of stage 2.

    Raises:
        ValueError: The bottleneck, a quarter of them, would not divide by the groups; the message names scales with
            which it does.
    """
    if groups not in STAGE2_CHANNELS:
        raise ValueError(f"groups is {groups!r}, not one of {', '.join(map(str, STAGE2_CHANNELS))}")
    if scale <= 0:
        raise ValueError(f"scale is {scale}, not positive")
    base, divisor = STAGE2_CHANNELS[groups], 4 * groups
    channels = round(base * scale)
    if channels % divisor or not channels:
        below = channels - channels % divisor
        near = [f"{value / base:.4g}" for value in (below, below + divisor) if value]
        known = [f"{value:g}" for value in SCALES if round(base * value) % divisor == 0]
        raise ValueError(
            f"with groups={groups}, scale={scale:g} gives stage 2 {channels} channels, not a multiple of {divisor}; "
            f"nearest scales that do: {', '.join(near)}; of the paper's: {', '.join(known)}"
        )
    return channels


def default_stem_channels(groups: int, scale: float) -> int:
    """Return the channels of the first convolution: 24, halved up to 0.5x and doubled from 2x on.

    Rounded up to a multiple of the groups, so that what a strided unit adds to them divides by the groups too (16 with
    8 groups at 0.5x). Source: megvii's code, which has 12, 24, 24 and 48 at 0.5x, 1x, 1.5x and 2x; the paper is silent.
    """
    stem = 12 if scale <= 0.5 else 24 if scale < 2 else 48
    return -(-stem // groups) * groups


class ShuffleUnit(nn.Module):
    """Grouped 1x1 convolution, shuffle, depthwise 3x3, grouped 1x1, and a shortcut: added, or pooled and concatenated.

    Source: figure 2 (b) for stride 1, (c) for stride 2.

    Args:
        compress_groups: Groups of the first 1x1 convolution; `groups` but in the network's first unit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        groups: int,
        compress_groups: int,
        shuffle: Shuffle,
        concat: Concat,
    ) -> None:
        super().__init__()
        self.stride, self.groups, self.shuffle, self.concat = stride, groups, shuffle, concat
        self.bottleneck = out_channels // 4
        main = out_channels - in_channels if stride > 1 else out_channels
        self.compress = ConvBnAct(in_channels, self.bottleneck, 1, groups=compress_groups)
        self.depthwise = ConvBnAct(self.bottleneck, self.bottleneck, 3, stride, groups=self.bottleneck, relu=False)
        self.expand = ConvBnAct(self.bottleneck, main, 1, groups=groups, relu=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in, H, W) to (N, out, H / stride, W / stride)."""
        main = self.compress(x)
        if self.groups > 1 and self.shuffle == "before-depthwise":
            main = channel_shuffle(main, self.groups)
        main = self.depthwise(main)
        if self.groups > 1 and self.shuffle == "after-depthwise":
            main = channel_shuffle(main, self.bottleneck // self.groups)
        main = self.expand(main)
        if self.stride == 1:
            return F.relu(x + main)
        pooled = F.avg_pool2d(x, 3, self.stride, 1)  # counts the padding's zeros, as all code bases do
        return F.relu(torch.cat([pooled, main] if self.concat == "pool-first" else [main, pooled], dim=1))


class ShuffleNet(nn.Module):
    """ShuffleNet: images (N, in_channels, H, W) to raw logits (N, num_classes).

    Args:
        groups: Groups of the 1x1 convolutions: 1, 2, 3, 4 or 8.
        scale: Multiplies the channels of every stage (not the resolution); see `stage2_channels` for which do.
        stem_channels: Channels of the first convolution; see `default_stem_channels`.
        shuffle: The paper's shuffle before the depthwise convolution, or its inverse after it (megvii's code). No
            permuting of weights makes one the other in general: they connect 8 groups of 12 channels differently.
        concat: Order of the parts in units of stride 2.
        stem: The first convolution with batch norm and ReLU, or with a bias alone (jaxony's code).
        head: Raw logits, or their log-softmax.
    """

    def __init__(
        self,
        groups: int = 3,
        scale: float = 1.0,
        num_classes: int = 1000,
        in_channels: int = 3,
        stem_channels: int | None = None,
        shuffle: Shuffle = "before-depthwise",
        concat: Concat = "pool-first",
        stem: Stem = "bn-relu",
        head: Head = "logits",
    ) -> None:
        super().__init__()
        for name, value, kind in (
            ("shuffle", shuffle, Shuffle),
            ("concat", concat, Concat),
            ("stem", stem, Stem),
            ("head", head, Head),
        ):
            if value not in get_args(kind):
                raise ValueError(f"{name} is {value!r}, not one of {', '.join(get_args(kind))}")
        self.options = {"shuffle": shuffle, "concat": concat, "stem": stem, "head": head}
        out = stage2_channels(groups, scale)
        channels = default_stem_channels(groups, scale) if stem_channels is None else stem_channels
        if channels % groups or not 0 < channels < out:
            raise ValueError(f"stem_channels is {channels}, not a multiple of {groups} between 1 and {out - 1}")
        self.stem = (
            ConvBnAct(in_channels, channels, 3, 2) if stem == "bn-relu" else nn.Conv2d(in_channels, channels, 3, 2, 1)
        )
        stages = []
        for index, units in enumerate(UNITS):
            # Table 1: the first 1x1 convolution of stage 2 has few input channels and is not grouped.
            strided = ShuffleUnit(channels, out, 2, groups, groups if index else 1, shuffle, concat)
            plain = [ShuffleUnit(out, out, 1, groups, groups, shuffle, concat) for _ in range(units - 1)]
            stages.append(nn.Sequential(strided, *plain))
            channels, out = out, 2 * out
        self.stages = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return raw logits, or their log-softmax."""
        x = self.stages(F.max_pool2d(self.stem(x), 3, 2, 1))
        logits: torch.Tensor = self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits if self.options["head"] == "logits" else F.log_softmax(logits, dim=1)

    def translate_checkpoint(self, state: State) -> State:
        """Return the tensors of megvii's, jaxony's or pytorchcv's checkpoints under our names; ours stay as they are.

        Raises:
            UsageError: The checkpoint is of a code base that computes another function than this model does.
        """
        dialect = next((each for each in DIALECTS if any(each.mark in key for key in state)), None)
        if dialect is None:
            return state
        missing = {name: value for name, value in dialect.needs.items() if self.options[name] != value}
        if missing:
            wanted = ", ".join(f"{name}: {value}" for name, value in missing.items())
            actual = ", ".join(f"{name}: {self.options[name]}" for name in missing)
            raise UsageError(
                f"The weights are of {dialect.code}'s ShuffleNet, which has {wanted}; this model has {actual}.",
                f"In the recipe, set `model_options: {{{wanted}}}`.",
            )
        return dialect.translate(state)


_LAYERS = ("compress.0", "compress.1", "depthwise.0", "depthwise.1", "expand.0", "expand.1")


@dataclass(frozen=True)
class Dialect:
    """How another code base names our layers, and the options with which our model computes what its model does."""

    code: str
    """Who wrote it."""
    mark: str
    """Part of a name that no other dialect has."""
    needs: dict[str, str]
    """Options of `ShuffleNet`."""
    ends: dict[str, str]
    """Our names of the layers before the first unit and after the last, by theirs."""
    unit: Callable[[int, int], str]
    """Its name of a unit, from stage and unit counted from 0."""
    layers: tuple[str, ...]
    """Its names of a unit's layers, in the order of `_LAYERS`."""

    def translate(self, state: State) -> State:
        """Return the tensors under our names, for the same function; names that are not known stay."""
        ours = dict(self.ends)
        for stage, units in enumerate(UNITS):
            for unit, (theirs, layer) in product(range(units), zip(self.layers, _LAYERS, strict=True)):
                ours[f"{self.unit(stage, unit)}.{theirs}"] = f"stages.{stage}.{unit}.{layer}"
        renamed = {}
        for key, tensor in state.items():
            path, dot, leaf = key.rpartition(".")
            renamed[f"{ours.get(path, path)}{dot}{leaf}"] = tensor
        _absorb_biases(renamed)
        if "classifier.0.weight" in state:  # megvii's, which has no bias
            weight = state["classifier.0.weight"]
            renamed.setdefault("classifier.bias", weight.new_zeros(weight.shape[:1]))
        return renamed


def _absorb_biases(state: State) -> None:
    """Subtract biases of convolutions from the means of the batch norms after them, which ours take instead."""
    for key in [key for key in state if key.endswith(".0.bias")]:
        name = f"{key.removesuffix('0.bias')}1.running_mean"
        mean, bias = state.get(name), state[key]
        if mean is not None and mean.shape == bias.shape:
            state[name] = (mean.double() - bias.double()).to(mean.dtype)
            del state[key]


# megvii and pytorchcv pool 7x7 at the end: the mean of all positions at 224 pixels, the size that they take.
# jaxony's code with one group has 567 channels in stage 4, a slip for 576: such a checkpoint does not fit.
DIALECTS = (
    Dialect(
        "megvii",
        ".branch_main_1.",
        {"shuffle": "after-depthwise", "concat": "pool-first", "stem": "bn-relu", "head": "logits"},
        {"first_conv.0": "stem.0", "first_conv.1": "stem.1", "classifier.0": "classifier"},
        lambda stage, unit: f"features.{sum(UNITS[:stage]) + unit}",
        (*(f"branch_main_1.{i}" for i in (0, 1, 3, 4)), "branch_main_2.0", "branch_main_2.1"),
    ),
    Dialect(
        "jaxony",
        ".ShuffleUnit_Stage",
        {"shuffle": "before-depthwise", "concat": "pool-first", "stem": "bare", "head": "log_softmax"},
        {"conv1": "stem", "fc": "classifier"},
        lambda stage, unit: f"stage{stage + 2}.ShuffleUnit_Stage{stage + 2}_{unit}",
        (
            "g_conv_1x1_compress.conv1x1",
            "g_conv_1x1_compress.batch_norm",
            "depthwise_conv3x3",
            "bn_after_depthwise",
            "g_conv_1x1_expand.conv1x1",
            "g_conv_1x1_expand.batch_norm",
        ),
    ),
    Dialect(
        "pytorchcv",
        ".compress_conv1.",
        {"shuffle": "before-depthwise", "concat": "main-first", "stem": "bn-relu", "head": "logits"},
        {"features.init_block.conv": "stem.0", "features.init_block.bn": "stem.1", "output": "classifier"},
        lambda stage, unit: f"features.stage{stage + 1}.unit{unit + 1}",
        ("compress_conv1", "compress_bn1", "dw_conv2", "dw_bn2", "expand_conv3", "expand_bn3"),
    ),
)


_PAPER = "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices, arXiv 1707.01083"
_PHONE = "Snapdragon 820, one thread"
_SOURCE = (
    "arXiv 1707.01083: MACs of table 1 (1x; without the classifier), 2 and 5, top-1 of tables 2 and 5, latency of "
    "table 8; parameters: pytorchcv, and megvii's README (1.5x, 2x)"
)

register(
    ModelEntry(
        name="shufflenet",
        build=ShuffleNet,
        paper=_PAPER,
        published=Published(
            params=1_865_728, macs=137_000_000, top1=67.4, phone_latency_ms=37.8, phone=_PHONE, source=_SOURCE
        ),
        defaults={"groups": 3, "scale": 1.0},
    )
)
register(
    ModelEntry(
        name="shufflenet_g1",
        build=ShuffleNet,
        paper=_PAPER,
        published=Published(params=1_531_936, macs=143_000_000, top1=66.4, source=_SOURCE),
        defaults={"groups": 1, "scale": 1.0},
    )
)
register(
    ModelEntry(
        name="shufflenet_g2",
        build=ShuffleNet,
        paper=_PAPER,
        published=Published(params=1_733_848, macs=140_000_000, top1=67.3, source=_SOURCE),
        defaults={"groups": 2, "scale": 1.0},
    )
)
register(
    ModelEntry(
        name="shufflenet_g4",
        build=ShuffleNet,
        paper=_PAPER,
        published=Published(params=1_968_344, macs=133_000_000, top1=67.2, source=_SOURCE),
        defaults={"groups": 4, "scale": 1.0},
    )
)
register(
    ModelEntry(
        name="shufflenet_g8",
        build=ShuffleNet,
        paper=_PAPER,
        published=Published(params=2_434_768, macs=137_000_000, top1=67.6, source=_SOURCE),
        defaults={"groups": 8, "scale": 1.0},
    )
)
register(
    ModelEntry(
        name="shufflenet_025",
        build=ShuffleNet,
        paper=_PAPER,
        published=Published(macs=13_000_000, top1=45.0, source=_SOURCE),
        defaults={"groups": 3, "scale": 0.25},
    )
)
register(
    ModelEntry(
        name="shufflenet_050",
        build=ShuffleNet,
        paper=_PAPER,
        published=Published(
            params=718_324, macs=38_000_000, top1=56.8, phone_latency_ms=15.2, phone=_PHONE, source=_SOURCE
        ),
        defaults={"groups": 3, "scale": 0.5},
    )
)
register(
    ModelEntry(
        name="shufflenet_150",
        build=ShuffleNet,
        paper=_PAPER,
        published=Published(params=3_400_000, macs=292_000_000, top1=71.5, source=_SOURCE),
        defaults={"groups": 3, "scale": 1.5},
    )
)
register(
    ModelEntry(
        name="shufflenet_200",
        build=ShuffleNet,
        paper=_PAPER,
        published=Published(
            params=5_400_000, macs=524_000_000, top1=73.7, phone_latency_ms=108.8, phone=_PHONE, source=_SOURCE
        ),
        defaults={"groups": 3, "scale": 2.0},
    )
)
