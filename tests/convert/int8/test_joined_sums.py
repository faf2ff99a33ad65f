"""A sum of two convolutions is one convolution in int8, with fewer roundings and the same function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.tflite import TFLiteGraph
from mobilekit.convert.int8.calibration import Observed, observe
from mobilekit.convert.int8.joined_sums import with_joined_sums
from mobilekit.convert.tasks.quantize import Quantizer
from mobilekit.recipes.schema import Int8
from tests.converting import Converted, normal

pytestmark = pytest.mark.slow

SHAPE = (3, 12, 12)
INPUTS = {"input": normal(12, *SHAPE).transpose(0, 2, 3, 1)}


class Sum(nn.Module):
    """Two maps, a convolution of each, and what becomes of both; the second has no bias."""

    def __init__(self, end: Callable[..., torch.Tensor], stride: int = 1, scale: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.end = end
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 12, 3, padding=1)
        self.b.weight.data *= scale
        self.left, self.right = nn.Conv2d(4, 8, 1), nn.Conv2d(12, 8, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(self.left(torch.relu(self.a(x))), self.right(torch.relu(self.b(x))))


def joined(net: Converted, *kept: str) -> tuple[bytes, Observed[int]]:
    content = net.float32.read_bytes()
    return with_joined_sums(content, observe(content, INPUTS), kept)


def run(content: bytes, path: Path, net: Converted) -> NDArray[np.float32]:
    path.write_bytes(content)
    (value,) = LiteRTRuntime(path, net.layouts).run({"input": normal(8, *SHAPE)}).values()
    return value


@pytest.mark.parametrize("end", [lambda a, b: a + b, lambda a, b: torch.relu(a + b)])
def test_a_sum_of_two_convolutions_is_one(end: Callable[..., torch.Tensor], tmp_path: Path) -> None:
    net = Converted(Sum(end), SHAPE, tmp_path)
    content, observed = joined(net)
    graph = TFLiteGraph(content)
    assert [graph.kinds.count(kind) for kind in ("ADD", "CONCATENATION", "CONV_2D")] == [0, 1, 3]
    np.testing.assert_allclose(
        run(content, tmp_path / "joined.tflite", net), run(net.float32.read_bytes(), net.float32, net), atol=2e-6
    )
    # What it would have done is what it does.
    again = observe(content, INPUTS)
    assert observed.seen.keys() == again.seen.keys() and observed.means.keys() >= again.means.keys()
    for tensor, one in again.seen.items():
        assert observed.seen[tensor].fitted("min-max") == pytest.approx(one.fitted("min-max"), rel=1e-5, abs=1e-6)
    for tensor, mean in again.means.items():
        np.testing.assert_allclose(observed.means[tensor], mean, atol=1e-5)


def test_int8_has_fewer_roundings(tmp_path: Path) -> None:
    net = Converted(Sum(lambda a, b: a + b), SHAPE, tmp_path)
    path = net.int8()
    assert TFLiteGraph(path.read_bytes()).kinds.count("ADD") == 0
    content = net.float32.read_bytes()
    quantizer = Quantizer(content, INPUTS, (), (), Int8().model_dump(mode="json"))
    apart = tmp_path / "apart.tflite"
    network = quantizer._network(content, quantizer.observed, ())
    apart.write_bytes(quantizer._quantized(network, quantizer.observed.whole_ranges(), ()))
    assert TFLiteGraph(apart.read_bytes()).kinds.count("ADD") == 1
    assert net.error(path) < 0.9 * net.error(apart)


OTHERS: dict[str, Sum] = {
    "another stride": Sum(lambda a, b: a[:, :, ::2, ::2] + b, stride=2),
    "a part that is read elsewhere": Sum(lambda a, b: torch.cat([a + b, a], 1)),
    "a part that is clamped": Sum(lambda a, b: torch.relu(a) + b),
    "maps of unlike ranges": Sum(lambda a, b: a + b, scale=16.0),
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_sums_are_left(what: str, tmp_path: Path) -> None:
    net = Converted(OTHERS[what], SHAPE, tmp_path)
    assert "ADD" in TFLiteGraph(joined(net)[0]).kinds


def test_sums_in_float_are_left(tmp_path: Path) -> None:
    net = Converted(Sum(lambda a, b: a + b), SHAPE, tmp_path)
    graph = TFLiteGraph(net.float32.read_bytes())
    (number,) = graph.ops_of(("ADD",))
    for tensor in (*graph.operands[number], *graph.results[number]):
        assert joined(net, graph.name(tensor))[0] == net.float32.read_bytes()
