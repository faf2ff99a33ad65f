"""Small models as people write them, each of a kind that exports went wrong with.

Written after public reports of this field, with code of our own. Weights are seeded, and no case needs anything but
torch: `mobilekit export tests/cases.py:NAME --input-size SIZE` exports one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

SIZES = {
    "ceil_pool_after_prelu": 48,
    "boxes_and_scores": 64,
    "response_norm": 64,
    "bilinear_by_one_and_a_half": 50,
    "nearest_down_by_seven": 28,
    "flow_warp": 48,
    "one_wide_mean": 64,
}
"""Height and width; 32 for all others."""


def _seeded(model: nn.Module, seed: int = 7) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            fan = max(1, parameter[0].numel()) if parameter.dim() > 1 else 4
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan**0.5)
    return model.eval()


class SamePadConv(nn.Conv2d):
    """A convolution that pads and calls F.conv2d itself, as EfficientNet ports do."""

    def forward(self, x: torch.Tensor) -> Any:
        rows = max((-(-x.shape[-2] // self.stride[0]) - 1) * self.stride[0] + self.kernel_size[0] - x.shape[-2], 0)
        cols = max((-(-x.shape[-1] // self.stride[1]) - 1) * self.stride[1] + self.kernel_size[1] - x.shape[-1], 0)
        x = F.pad(x, [cols // 2, cols - cols // 2, rows // 2, rows - rows // 2])
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def functional_convolutions() -> nn.Module:
    return _seeded(
        nn.Sequential(
            SamePadConv(3, 16, 3, 2, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU6(),
            SamePadConv(16, 16, 3, groups=16, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU6(),
            SamePadConv(16, 24, 1, bias=False),
            nn.BatchNorm2d(24),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(24, 5),
        )
    )


class CeilPool(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.p, self.b, self.q, self.head = (
            nn.Conv2d(3, 8, 3),
            nn.PReLU(8),
            nn.Conv2d(8, 16, 3),
            nn.PReLU(16),
            nn.Linear(16, 5),
        )
        _seeded(self)

    def forward(self, x: torch.Tensor) -> Any:
        x = F.max_pool2d(self.p(self.a(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.q(self.b(x)), 2, 2, ceil_mode=True)
        return self.head(x.mean((2, 3)))


def ceil_pool_after_prelu() -> nn.Module:
    return CeilPool()


def own_batch_norms() -> nn.Module:
    """The factory loads trained statistics: the export must keep them."""
    model = _seeded(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 5),
        )
    )
    state = model.state_dict()
    state["1.running_mean"], state["1.running_var"] = torch.linspace(-2, 2, 8), torch.linspace(0.2, 5, 8)
    model.load_state_dict(state)
    return model.eval()


class RelativePositions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 6, 3, 4, 1)
        self.table = nn.Parameter(torch.zeros(49, 6))
        self.register_buffer("index", (torch.arange(64) * 5 % 49).view(8, 8))
        self.register_buffer("mask", torch.eye(8, dtype=torch.bool))
        _seeded(self)

    def forward(self, x: torch.Tensor) -> Any:
        x = self.a(x) + self.table[self.index].permute(2, 0, 1)
        return x.masked_fill(self.mask, 0.0)


def integer_and_boolean_buffers() -> nn.Module:
    return RelativePositions()


class PositionCode(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.w = nn.Conv2d(3, 16, 3, 4, 1), nn.Linear(16, 16)
        _seeded(self)

    def forward(self, x: torch.Tensor) -> Any:
        tokens = self.a(x).flatten(2).transpose(1, 2)
        places = torch.arange(tokens.shape[1], dtype=torch.float32)[:, None] / torch.arange(1, 17, dtype=torch.float32)
        return tokens + self.w(torch.sin(places))


def float32_made_in_forward() -> nn.Module:
    return PositionCode()


class BatchOfOne(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.w = nn.Conv2d(3, 8, 3, 4, 1), nn.Linear(8, 5)
        _seeded(self)

    def forward(self, x: torch.Tensor) -> Any:
        return self.w(self.a(x).reshape(1, 8, -1).transpose(1, 2))


def written_for_a_batch_of_one() -> nn.Module:
    return BatchOfOne()


class MapAndPermuted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 4, 3, 2, 1)
        _seeded(self)

    def forward(self, x: torch.Tensor) -> Any:
        y = self.a(x)
        return {"map": y, "nhwc": y.permute(0, 2, 3, 1)}


def one_tensor_as_two_outputs() -> nn.Module:
    return MapAndPermuted()


class OneLayerTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 1, 1)
        self.c = self.b
        _seeded(self)

    def forward(self, x: torch.Tensor) -> Any:
        return self.c(torch.relu(self.b(torch.relu(self.a(x)))))


def one_layer_under_two_names() -> nn.Module:
    return OneLayerTwice()


class Outputs(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.a, self.kind = nn.Conv2d(3, 4, 3, 2, 1), kind
        _seeded(self)

    def forward(self, x: torch.Tensor) -> Any:
        y = self.a(x)
        if self.kind == "scalar":
            return {"score": y.mean(), "map": y}
        if self.kind == "boolean":
            return {"mask": y[:, :1] > 0, "score": y}
        if self.kind == "constant":
            return y, torch.arange(12.0).view(1, 3, 4)
        if self.kind == "clash":
            return {"p/3": y, "p.3": y * 2}
        return F.interpolate(y, scale_factor=2, mode="bilinear").argmax(1)


def scalar_output() -> nn.Module:
    return Outputs("scalar")


def boolean_output() -> nn.Module:
    return Outputs("boolean")


def constant_output() -> nn.Module:
    return Outputs("constant")


def names_that_meet() -> nn.Module:
    return Outputs("clash")


def label_output() -> nn.Module:
    return Outputs("labels")


class BoxesAndScores(nn.Module):
    """One output whose first four rows are boxes (0..64), the others scores (0..1), as detectors give."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.box, self.score = nn.Conv2d(3, 8, 3, 4, 1), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)
        _seeded(self)

    def forward(self, x: torch.Tensor) -> Any:
        y = torch.relu(self.a(x))
        return torch.cat([64 * torch.sigmoid(self.box(y)), torch.sigmoid(self.score(y))], 1).flatten(2)


def boxes_and_scores() -> nn.Module:
    return BoxesAndScores()


class ResponseNorm(nn.Module):
    """ConvNeXt V2's GRN on NHWC, where channels, height and width are alike."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.g, self.b = nn.Conv2d(3, 16, 3, 4, 1), nn.Parameter(torch.ones(16)), nn.Conv2d(16, 16, 1)
        _seeded(self)

    def forward(self, x: torch.Tensor) -> Any:
        y = self.a(x).permute(0, 2, 3, 1)
        norm = torch.norm(y, p=2, dim=(1, 2), keepdim=True)
        return self.b((self.g * (y * (norm / (norm.mean(-1, keepdim=True) + 1e-6))) + y).permute(0, 3, 1, 2))


def response_norm() -> nn.Module:
    return ResponseNorm()


class Resize(nn.Module):
    def __init__(self, **how: Any) -> None:
        super().__init__()
        self.a, self.b, self.how = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 1), how
        _seeded(self)

    def forward(self, x: torch.Tensor) -> Any:
        return self.b(F.interpolate(self.a(x), **self.how))


def bilinear_by_one_and_a_half() -> nn.Module:
    return Resize(scale_factor=1.5, mode="bilinear")


def nearest_down_by_seven() -> nn.Module:
    return Resize(size=(2, 2), mode="nearest")


class Softplus(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 4, 1)
        _seeded(self)

    def forward(self, x: torch.Tensor) -> Any:
        return F.softplus(self.b(F.mish(self.a(x))))


def mish_and_softplus() -> nn.Module:
    return Softplus()


class Warp(nn.Module):
    """A flow warp: a fixed float grid as a buffer, and grid_sample."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 2, 3, 1, 1)
        axis = torch.linspace(-1, 1, 48)
        self.register_buffer("grid", torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)[None])
        _seeded(self)

    def forward(self, x: torch.Tensor) -> Any:
        flow = torch.tanh(self.a(x)).permute(0, 2, 3, 1) * 0.1
        return F.grid_sample(x, self.grid + flow, mode="bilinear", padding_mode="border", align_corners=True)


def flow_warp() -> nn.Module:
    return Warp()


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.n, self.m = (
            nn.Conv2d(3, 32, 4, 4),
            nn.LayerNorm(32),
            nn.MultiheadAttention(32, 4, batch_first=True),
        )
        _seeded(self)

    def forward(self, x: torch.Tensor) -> Any:
        tokens = self.n(self.a(x).flatten(2).transpose(1, 2))
        return (tokens + self.m(tokens, tokens, tokens, need_weights=False)[0]).mean(1)


def multihead_attention() -> nn.Module:
    return Attention()


class WindowAttention(nn.Module):
    """Heads beside the batch, in three axes, and positions as a mask, as the image encoder of SAM has them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.qkv, self.out = nn.Conv2d(3, 16, 4, 4), nn.Linear(16, 48), nn.Linear(16, 16)
        self.places = nn.Parameter(torch.zeros(4, 64, 64))
        _seeded(self)

    def forward(self, x: torch.Tensor) -> Any:
        tokens = self.a(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(tokens).reshape(len(x), -1, 3, 4, 4).permute(2, 0, 3, 1, 4).reshape(3, -1, 64, 4).unbind(0)
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=self.places.repeat(len(x), 1, 1))
        return self.out(found.view(len(x), 4, 64, 4).permute(0, 2, 1, 3).reshape(len(x), 64, 16))


def attention_in_three_axes() -> nn.Module:
    return WindowAttention()


class Reader(nn.Module):
    """Columns of an image read in both directions, as recognizers of text do."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = nn.Conv2d(3, 8, 4, 4), nn.Linear(12, 5)
        self.read = nn.LSTM(8, 6, bidirectional=True, batch_first=True)
        _seeded(self)

    def forward(self, x: torch.Tensor) -> Any:
        return self.out(self.read(self.a(x).mean(2).transpose(1, 2))[0])


def recurrent_columns() -> nn.Module:
    return Reader()


class Spread(nn.Module):
    """Channels of very different ranges between layers, as trained depthwise networks have them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.d, self.b, self.head = (
            nn.Conv2d(3, 16, 3, 2, 1),
            nn.Conv2d(16, 16, 3, 1, 1, groups=16),
            nn.Conv2d(16, 32, 1),
            nn.Linear(32, 10),
        )
        _seeded(self)
        scale = torch.logspace(-2, 2, 16)
        with torch.no_grad():
            self.d.weight.mul_(scale[:, None, None, None])
            self.d.bias.mul_(scale)
            self.b.weight.div_(scale[None, :, None, None])

    def forward(self, x: torch.Tensor) -> Any:
        x = torch.relu(self.a(x))
        return self.head(torch.relu(self.b(torch.relu(self.d(x)))).mean((2, 3)))


def channels_of_unlike_ranges() -> nn.Module:
    return Spread()


def one_wide_mean() -> nn.Module:
    """The smallest net that anyone tries first; its mean runs over 112 x 112 values."""
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )
    return _seeded(net)


class Branches(nn.Module):
    """A training form: three branches that are one convolution after training."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.three, self.one, self.same = (
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.norm_three, self.norm_one = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> Any:
        return torch.relu(self.norm_three(self.three(x)) + self.norm_one(self.one(x)) + self.same(x))


def parallel_branches() -> nn.Module:
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), Branches(16), Branches(16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    )
    return _seeded(net)


class TwoClamps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 8, 1)
        _seeded(self)

    def forward(self, x: torch.Tensor) -> Any:
        return self.b(torch.clamp(torch.relu(self.a(x)), -1.0, 2.0)).mean((2, 3))


def two_clamps() -> nn.Module:
    return TwoClamps()
