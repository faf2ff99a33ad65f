"""What stays in float is rounded nowhere inside."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mobilekit.artifacts.tflite import TFLiteGraph, type_of
from tests.converting import Converted

pytestmark = pytest.mark.slow


class Halves(nn.Module):
    """A softplus whose halves are multiplied."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, other = torch.exp(self.a(x)).chunk(2, 1)
        return torch.log(1 + one * other)


def test_a_split_in_float_is_not_rounded(tmp_path: Path) -> None:
    net = Converted(Halves(), (3, 16, 16), tmp_path)
    graph = TFLiteGraph(net.int8(["exponential"]).read_bytes())
    cuts = ("SPLIT", "STRIDED_SLICE", "SLICE")  # each way of converting has its own
    assert graph.ops_of(cuts)
    between = [
        type_of(graph.tensors[tensor]) for op in graph.ops_of(("EXP", "LOG", *cuts)) for tensor in graph.results[op]
    ]
    assert set(between) == {"FLOAT32"}
    assert graph.kinds.count("DEQUANTIZE") == 1
    assert net.error(tmp_path / "exponential.tflite") < net.error(net.int8()) / 3
