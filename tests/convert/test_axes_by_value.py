"""Files whose tensors have axes of one length, compared with PyTorch: lengths tell no order of axes there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.artifacts.litert import LiteRTRuntime
from tests.converting import Converted, normal

SIZE = 8
Part = Callable[["Alike", torch.Tensor], torch.Tensor]


def attention(net: Alike, x: torch.Tensor) -> torch.Tensor:
    """Attention of as many tokens as heads, each as wide."""
    tokens = x.mean(3).transpose(1, 2)
    query, key, value = net.wide(tokens).reshape(1, SIZE, 3, SIZE, SIZE).permute(2, 0, 3, 1, 4)
    return ((query @ key.transpose(-2, -1)).softmax(-1) @ value).transpose(1, 2).reshape(1, SIZE, SIZE * SIZE)


def response_norm(net: Alike, x: torch.Tensor) -> torch.Tensor:
    """A map in NHWC by its norm over rows and columns."""
    y = x.permute(0, 2, 3, 1)
    norm = y.pow(2).sum((1, 2), keepdim=True).sqrt()
    return net.point((net.scale * (y * (norm / (norm.mean(-1, keepdim=True) + 1))) + y).permute(0, 3, 1, 2))


PARTS: dict[str, Part] = {
    "attention": attention,
    "response norm": response_norm,
    "heads first": lambda net, x: net.point(x).flatten(2).reshape(1, SIZE, SIZE, SIZE).transpose(1, 2) @ net.matrix,
    "rows for channels": lambda _net, x: x + x.permute(0, 2, 3, 1) * x.transpose(1, 3).sigmoid(),
    "over channels": lambda _net, x: (x - x.amax(1, keepdim=True)).softmax(2),
    "scale of rows": lambda net, x: x * net.scale[:, None] + x.mean(1)[:, None],
    "layer norm": lambda _net, x: F.layer_norm(x, (SIZE,)).transpose(1, 2) + x,
    "parts": lambda _net, x: torch.cat([x[:, :, :3], x[:, :, 3:].relu()], 2) + torch.cat([x[..., 5:], x[..., :5]], 3),
    "gate": lambda net, x: x * net.point(x.mean((2, 3), keepdim=True)).sigmoid(),
}


class Alike(nn.Module):
    """A map with as many channels as rows and columns, and all that is made of it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, SIZE, 3, 2, 1)
        self.point = nn.Conv2d(SIZE, SIZE, 1)
        self.wide = nn.Linear(SIZE, 3 * SIZE * SIZE)
        self.matrix = nn.Parameter(torch.randn(SIZE, SIZE))
        self.scale = nn.Parameter(torch.randn(SIZE))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self.stem(x)
        return [part(self, x) for part in PARTS.values()]


@pytest.mark.slow
def test_axes_of_one_length_are_not_mistaken(tmp_path: Path) -> None:
    """Each part's output has rounding alone: 1e-5 of its largest value is ten times what sums of 200 lose."""
    torch.manual_seed(0)
    net = Alike()
    converted = Converted(net, (3, 2 * SIZE, 2 * SIZE), tmp_path)
    x = normal(1, 3, 2 * SIZE, 2 * SIZE, seed=5)
    given = LiteRTRuntime(converted.float32, converted.layouts).run({"input": x})
    with torch.no_grad():
        expected = net(torch.from_numpy(x))
    for name, made, wanted in zip(PARTS, given.values(), expected, strict=True):
        assert np.abs(made - wanted.numpy()).max() <= 1e-5 * wanted.abs().max(), name


@pytest.mark.slow
def test_an_input_as_deep_as_it_is_wide_is_not_mistaken(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(SIZE, SIZE, 3, padding=1), nn.Linear(SIZE, SIZE))
    converted = Converted(net, (SIZE, SIZE, SIZE), tmp_path)
    x = normal(1, SIZE, SIZE, SIZE, seed=5)
    (given,) = LiteRTRuntime(converted.float32, converted.layouts).run({"input": x}).values()
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).numpy()
    assert np.abs(given - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.slow
def test_a_file_is_made_where_onnx_runtime_is_off_and_not_onnx2tf(tmp_path: Path) -> None:
    """ONNX Runtime 1.23 takes row 6 for row 7; ONNX's own reference is asked, and the file has PyTorch's rows."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Upsample((2, 2)), nn.Conv2d(4, 4, 1), nn.Flatten())
    converted = Converted(net, (3, 14, 14), tmp_path)
    assert converted.error(converted.float32) < 1e-6
