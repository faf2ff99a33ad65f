"""Layers by computed weights: the same function by products, beside PyTorch's own in float64, and in a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import nn
from torch.nn import functional as F

from mobilekit.convert.computed_weights import convolution
from mobilekit.convert.flat import flat
from mobilekit.rewrites.fx.graph import trace
from tests.converting import Converted

aten = torch.ops.aten
SHAPE = (4, 12, 12)


@settings(max_examples=80, deadline=None)
@given(
    axes=some.integers(1, 2),
    groups=some.sampled_from([1, 2, 4]),
    width=some.integers(1, 3),
    kernel=some.lists(some.integers(1, 3), min_size=2, max_size=2),
    stride=some.integers(1, 3) | some.tuples(some.integers(1, 2), some.integers(1, 2)),
    dilation=some.integers(1, 2),
    padding=some.integers(0, 2) | some.sampled_from(["same", "valid"]),
    is_biased=some.booleans(),
)
def test_a_convolution_is_what_pytorch_makes_it(
    axes: int,
    groups: int,
    width: int,
    kernel: list[int],
    stride: int | tuple[int, int],
    dilation: int,
    padding: int | str,
    is_biased: bool,
) -> None:
    generator = torch.Generator().manual_seed(0)
    stride = 1 if padding == "same" else stride if isinstance(stride, int) else list(stride)[:axes]
    x = torch.randn(2, groups * width, *(9, 8)[:axes], generator=generator, dtype=torch.float64)
    weight = torch.randn(2 * groups, width, *kernel[:axes], generator=generator, dtype=torch.float64)
    bias = torch.randn(2 * groups, generator=generator, dtype=torch.float64) if is_biased else None
    arguments = (x, weight, bias, stride, padding, dilation, groups)
    exact = (F.conv1d, F.conv2d)[axes - 1](*arguments)  # type: ignore[arg-type]
    torch.testing.assert_close(convolution(*arguments), exact, rtol=1e-12, atol=1e-12)


class Mixed(nn.Module):
    """A convolution by weights that the picture mixes, each channel by a part of the map, and a norm's weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.gate = nn.Conv2d(4, 8, 3, 2, 1), nn.Linear(8, 8)
        self.weight = nn.Parameter(torch.randn(8, 8, 3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        gate = self.gate(x.mean((2, 3)))[0]
        x = F.conv2d(x, self.weight * gate[:, None, None, None], gate, padding=1)
        x = F.conv2d(x, x[:, :, 2:5, 1:3].reshape(8, 1, 3, 2), groups=8)
        return F.layer_norm(x.flatten(2).transpose(1, 2), (8,), gate, gate)


class Standardized(nn.Module):
    """A convolution by weights that are computed of the model's own alone, which converters fold."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True))


@pytest.mark.parametrize(("net", "changed"), [(Mixed(), 2), (Standardized(), 0)])
def test_those_that_no_input_changes_stay(net: nn.Module, changed: int) -> None:
    image = torch.randn(1, *SHAPE)
    graph = flat(trace(net.eval(), {"input": image}))
    targets = [node.target for node in graph.graph.nodes]
    assert targets.count(convolution) == changed
    assert not {aten.conv2d.default, aten.layer_norm.default} & {*targets}
    with torch.no_grad():
        torch.testing.assert_close(graph(image)[0], net(image), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_they_arrive(tmp_path: Path) -> None:
    converted = Converted(Mixed(), SHAPE, tmp_path)
    assert converted.error(converted.float32) < 1e-5
