"""Forms of a part that no recipe of mobilekit's has: those that `tune` offers, and what a user's model may call."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.artifacts.inspect import inspect
from mobilekit.artifacts.tflite import TFLiteGraph
from tests.conftest import Cli
from tests.converting import Converted

NET = """
import torch
from torch import nn
from torch.nn import functional as F


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, 2, 1)
        self.across = nn.Conv2d(12, 12, (1, 5), padding=(0, 2), groups=12)
        self.down = nn.Conv2d(12, 12, (5, 1), padding=(2, 0), groups=12)
        self.mix = nn.Conv2d(12, 12, 1)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = self.stem(x).relu()
        gate = self.mix(self.down(self.across(F.avg_pool2d(x, 2)))).sigmoid()
        x = x * F.interpolate(gate, size=x.shape[2:], mode="nearest")
        return self.head(x.mean((2, 3)))
"""
RECIPE = """
input: {size: 40}
rewrites:
  - name: pool-as-depthwise
  - name: merge-depthwise
  - {name: upsample-broadcast, options: {form: depth-to-space}}
gates:
  float32: {max_partitions: 1}
  int8: {max_partitions: 1}
"""


@pytest.mark.slow
def test_merged_kernels_and_depth_to_space_arrive_and_pass(tmp_path: Path, cli: Cli) -> None:
    net, recipe, bundle = tmp_path / "net.py", tmp_path / "recipe.yaml", tmp_path / "bundle"
    net.write_text(NET)
    recipe.write_text(RECIPE)
    done = cli("export", f"{net}:Gated", "--recipe", recipe, "--precision", "float32,int8", "-o", bundle)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((bundle / "ledger.json").read_text())["verdict"] == "pass"
    for precision in ("float32", "int8"):
        file = bundle / f"model.{precision}.tflite"
        delegate = inspect(file).delegate
        assert delegate and delegate.partitions == 1
        graph = TFLiteGraph(file.read_bytes())
        weights = [graph.tensors[graph.operands[op][1]].shape for op in graph.ops_of(["DEPTHWISE_CONV_2D"])]
        assert [tuple(shape[1:3]) for shape in weights] == [(2, 2), (5, 5)]
        assert len(graph.ops_of(["ADD"])) == len(graph.ops_of(["DEPTH_TO_SPACE"])) == 1
        assert graph.ops_of(["TRANSPOSE", "RESHAPE", "RESIZE_NEAREST_NEIGHBOR"]) == []


class Resizes(nn.Module):
    """Enlarged maps of each way to count coordinates, after a GELU, which takes the file to opset 20."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.gelu(self.stem(x))
        corners = F.interpolate(x, (10, 10), mode="bilinear", align_corners=True)
        centers = F.interpolate(x, scale_factor=2, mode="bilinear")
        return torch.cat([F.interpolate(x, (10, 10)), corners, F.interpolate(centers, (10, 10))], 1).flatten(1)


@pytest.mark.slow
def test_resizes_keep_their_coordinates_and_a_gelu_is_one_op(tmp_path: Path) -> None:
    """4 from 8 and 10 from 4 tell the ways apart by tenths; 1e-6 is what rounding makes of 30 products."""
    converted = Converted(Resizes(), (3, 8, 8), tmp_path)
    assert converted.error(converted.float32) < 1e-6
    kinds = inspect(converted.float32).ops
    assert (kinds["GELU"], kinds["RESIZE_NEAREST_NEIGHBOR"], kinds["RESIZE_BILINEAR"]) == (1, 2, 2)


class Flipped(nn.Module):
    """A step that flips, between two convolutions."""

    def __init__(self, step: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.step, self.last = nn.Conv2d(3, 6, 3, 2, 1), step, nn.Conv2d(6, 4, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.last(self.step(self.first(x)))
        return made


@pytest.mark.slow
@pytest.mark.parametrize(
    "step",
    [
        pytest.param(lambda x: x.flip(1), id="channels"),
        pytest.param(lambda x: x.flip(2), id="height"),
        pytest.param(lambda x: x.flip(-1), id="width"),
        pytest.param(lambda x: x.flip((1, 3)), id="two-axes"),
        pytest.param(lambda x: torch.where(x > x.flip(1), x, x * 2), id="where"),
    ],
)
def test_a_flip_arrives(step: Callable[[torch.Tensor], torch.Tensor], tmp_path: Path) -> None:
    """1e-6 is what rounding makes of 80 products; int8 rounds a few values to a hundredth of their range."""
    converted = Converted(Flipped(step), (3, 9, 8), tmp_path)
    assert converted.error(converted.float32) < 1e-6
    assert converted.error(converted.int8()) < 0.08


class Places(nn.Module):
    """Queries, keys and values by their numbers along an axis, and the first and the last of the tokens."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.qkv = nn.Conv2d(3, 8, 2, 2), nn.Linear(8, 24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        qkv = self.qkv(tokens).reshape(len(x), 16, 3, 2, 4).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]).transpose(1, 2).flatten(2)
        return torch.cat([seen[:, 0], seen[:, -1]], 1)


@pytest.mark.slow
def test_one_place_of_an_axis_is_a_slice(tmp_path: Path) -> None:
    """XNNPACK has no kernel for a GATHER, so that each would cut the graph."""
    converted = Converted(Places(), (3, 8, 8), tmp_path)
    assert converted.error(converted.float32) < 1e-6
    assert TFLiteGraph(converted.float32.read_bytes()).ops_of(["GATHER", "GATHER_ND"]) == []
    delegate = inspect(converted.float32).delegate
    assert delegate
    assert delegate.partitions == 1
