"""The forms of ops that faults of targets elsewhere are about, which nothing here can run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from mobilekit.artifacts.analysis.runtime_faults import faults_elsewhere, faults_in
from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.tflite import pack, unpack
from mobilekit.targets.gpu import GPUProcess
from tests.conftest import Cli
from tests.targets.conftest import gpu  # noqa: F401 - a fixture
from tests.tflite_by_hand import Int8, make_int8_op, make_tflite

GROUPS, CHANNELS, SIDE = 2, 8, 5


class Shuffled(nn.Module):
    """A convolution, and its channels in another order by one of the ways to write that, or something else."""

    def __init__(self, way: str, groups: int = GROUPS) -> None:
        super().__init__()
        self.way, self.conv = way, nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        if self.way == "relu":
            x = torch.relu(x)
        if self.way == "turned":
            return x.transpose(2, 3) * 2
        if self.way == "plain":
            return torch.relu(x)
        if self.way == "four axes":
            x = x.permute(0, 2, 3, 1).reshape(1, SIDE * SIDE, GROUPS, CHANNELS // GROUPS).transpose(2, 3)
            return x.reshape(1, SIDE, SIDE, CHANNELS).permute(0, 3, 1, 2) * 2
        return x.reshape(1, GROUPS, CHANNELS // GROUPS, SIDE, SIDE).transpose(1, 2).reshape(x.shape) * 2


@pytest.mark.parametrize(
    ("way", "groups", "is_at_fault"),
    [
        ("five axes", GROUPS, True),
        ("four axes", GROUPS, True),
        ("five axes", 1, False),
        ("relu", GROUPS, False),
        ("turned", GROUPS, False),
        ("plain", GROUPS, False),
    ],
)
def test_a_shuffle_right_behind_a_grouped_convolution(way: str, groups: int, is_at_fault: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    program = torch.onnx.export(Shuffled(way, groups).eval(), (torch.zeros(1, CHANNELS, SIDE, SIDE),), dynamo=True)
    assert program is not None
    onnx.save(program.model_proto, path)
    found = faults_elsewhere(path)
    assert [(each.name, each.ops, each.version) for each in found] == [
        ("rknn-shuffle-after-groups", 1, "")
    ] * is_at_fault
    assert faults_in(path) == ()


def test_a_sum_over_one_axis_that_is_an_input(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "y")]
    for listed, names in (([1], ["pnnx-axis-of-sums"]), ([0, 1], [])):
        axes = helper.make_tensor("axes", TensorProto.INT64, [len(listed)], listed)
        node = helper.make_node("ReduceSum", ["x", "axes"], ["y"])
        graph = helper.make_graph([node], "g", values[:1], values[1:], [axes])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "a.onnx")
        assert [each.name for each in faults_elsewhere(tmp_path / "a.onnx")] == names


def test_weights_with_a_scale_for_each_channel(tmp_path: Path, cli: Cli) -> None:
    path = tmp_path / "model.int8.tflite"
    weights = np.random.default_rng(0).integers(-127, 128, (16, 1, 1, 8)).astype(np.int8)
    options = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
    bias = Int8((16,), 0.02 * 0.01, 0, np.zeros(16, np.int32))
    takes = [Int8((1, 4, 4, 8), 0.02, 3), Int8(weights.shape, 0.01, 0, weights), bias]
    content = make_int8_op("CONV_2D", takes, Int8((1, 4, 4, 16), 0.25, 0), **options)
    path.write_bytes(content)
    assert "mediatek-per-channel" not in {each.name for each in faults_elsewhere(path)}
    model = unpack(content)
    for number, scale in ((1, 0.01), (2, 0.02 * 0.01)):
        of = model.subgraphs[0].tensors[number].quantization
        of.scale, of.zeroPoint = [scale] * 16, [0] * 16
    path.write_bytes(pack(model))
    [found] = faults_elsewhere(path)
    assert (found.name, found.ops) == ("mediatek-per-channel", 1)
    told = "known fault of ai-edge-litert-sdk-mediatek>=2.1.5,<=2.1.5 in model.int8.tflite: 1 layer (int8 weights with"
    assert told in " ".join(cli("inspect", path).stdout.split())
    assert '"faults_elsewhere": [' in cli("inspect", path, "--json").stdout


@pytest.fixture
def summed(tmp_path: Path) -> Path:
    """A sum that is an output and is taken again."""
    path = tmp_path / "model.float32.tflite"
    ops = [("HARD_SWISH", ["x"], "h"), ("ADD", ["h", "x"], "sum"), ("HARD_SWISH", ["sum"], "y")]
    path.write_bytes(make_tflite(ops, (1, 4, 4, 8), ["sum", "y"]))
    return path


def test_a_sum_that_is_an_output_and_taken(summed: Path) -> None:
    assert [each.name for each in faults_in(summed, "2.1.6", on_gpu=True)] == ["gpu-add-output"]
    assert faults_in(summed, "2.3.0", on_gpu=True) == faults_in(summed, "2.1.6") == ()
    assert [each.name for each in faults_elsewhere(summed)] == ["gpu-add-output"]
    summed.write_bytes(make_tflite([("HARD_SWISH", ["x"], "h"), ("ADD", ["h", "x"], "y")], (1, 4, 4, 8), ["y"]))
    assert faults_elsewhere(summed) == ()


@pytest.mark.usefixtures("gpu")
def test_this_gpu_adds_it_right(summed: Path) -> None:
    inputs = {"x": np.random.default_rng(0).normal(size=(1, 4, 4, 8)).astype(np.float32)}
    with GPUProcess() as process:
        found = process.run(summed, {}, inputs, float16=False)
    for name, right in LiteRTRuntime(summed).run(inputs).items():
        np.testing.assert_allclose(found[name], right, rtol=1e-6, atol=1e-6)
