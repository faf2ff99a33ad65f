"""Corrected biases, by LiteRT: with rounded weights each channel's mean is again what it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.tflite import TFLiteGraph, constant
from mobilekit.convert.int8.bias import rounded
from mobilekit.convert.int8.calibration import observe, with_corrected_biases
from tests.converting import Converted

pytestmark = pytest.mark.slow

CHANNELS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""The axis of the outputs' channels in the weights of each kind of layer, by TFLite's schema."""
LAYERS = {
    "plain": lambda: nn.Conv2d(6, 5, 3, padding=1),
    "stride": lambda: nn.Conv2d(6, 5, 3, stride=2, padding=1, bias=False),
    "valid": lambda: nn.Conv2d(6, 5, (2, 3)),
    "dilated": lambda: nn.Conv2d(6, 5, 3, padding=2, dilation=2),
    "grouped": lambda: nn.Conv2d(6, 8, 3, padding=1, groups=2),
    "depthwise": lambda: nn.Conv2d(6, 6, 5, stride=2, padding=2, groups=6),
    "two_each": lambda: nn.Conv2d(6, 12, 3, padding=1, groups=6),
}


class Parallel(nn.Module):
    """Layers of all kinds beside each other, each an output; and a dense one on the mean."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.ModuleDict({name: make() for name, make in LAYERS.items()})
        self.dense = nn.Linear(6, 4, bias=False)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        made = {name: layer(image) for name, layer in self.layers.items()}
        return {**made, "dense": self.dense(image.mean((2, 3)))}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    return Converted(Parallel(), (6, 9, 11), tmp_path_factory.mktemp("bias"))


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.float32]:
    """Inputs as behind a ReLU, larger to one side: their mean says which taps meet padding."""
    draw = np.random.default_rng(5)
    return np.float32(draw.uniform(0, 1, (16, 6, 9, 11)) * np.linspace(0.2, 3, 11) * np.arange(1, 7)[:, None, None])


def means(content: bytes, path: Path, pictures: NDArray[np.float32], layouts: dict[str, str]) -> dict[str, NDArray]:
    path.write_bytes(content)
    made = LiteRTRuntime(path, layouts).run({"input": pictures})
    return {name: each.astype(np.float64).mean((0, *range(2, each.ndim))) for name, each in made.items()}


def corrected_of(content: bytes, pictures: NDArray[np.float32], kept: Sequence[str] = ()) -> bytes:
    observed = observe(content, {"input": pictures.transpose(0, 2, 3, 1)}, kept)
    return with_corrected_biases(content, observed, kept)


def with_rounded_weights(graph: TFLiteGraph) -> int:
    """Round the weights of all layers as int8 has them; return of how many."""
    layers = graph.ops_of(CHANNELS)
    for op in layers:
        tensor = graph.tensors[graph.operands[op][1]]
        weights = constant(graph.model, tensor)
        assert weights is not None
        values = rounded(weights, CHANNELS[graph.kinds[op]]).astype(np.float32)
        graph.model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
    return len(layers)


def test_the_mean_of_each_channel_is_that_of_the_float_network(
    net: Converted, pictures: NDArray[np.float32], tmp_path: Path
) -> None:
    content = net.float32.read_bytes()
    wanted = means(content, tmp_path / "float.tflite", pictures, net.layouts)
    corrected = {}
    for is_corrected in (False, True):
        graph = TFLiteGraph(corrected_of(content, pictures) if is_corrected else content)
        assert with_rounded_weights(graph) >= len(LAYERS) + 1
        corrected[is_corrected] = means(graph.content(), tmp_path / "rounded.tflite", pictures, net.layouts)
    for name, mean in wanted.items():
        size = np.abs(mean).max()
        assert np.abs(corrected[True][name] - mean).max() < 2e-6 * size, name  # float32 sums of at most 150 products
        assert np.abs(corrected[False][name] - mean).max() > 1e-4 * size, name


def test_weights_are_those_that_the_quantizer_makes(net: Converted) -> None:
    float32, int8 = TFLiteGraph(net.float32.read_bytes()), TFLiteGraph(net.int8().read_bytes())
    wanted = [
        rounded(weights, CHANNELS[float32.kinds[op]])
        for op in float32.ops_of(CHANNELS)
        if (weights := constant(float32.model, float32.tensors[float32.operands[op][1]])) is not None
    ]
    found = []
    for op in int8.ops_of(CHANNELS):
        tensor = int8.tensors[int8.operands[op][1]]
        values, axis = constant(int8.model, tensor), CHANNELS[int8.kinds[op]]
        assert values is not None
        shape = [len(tensor.quantization.scale) if at == axis else 1 for at in range(values.ndim)]
        found.append(values * np.asarray(tensor.quantization.scale, np.float64).reshape(shape))
    assert len(found) == len(wanted)
    for each in wanted:
        assert any(each.shape == other.shape and np.allclose(each, other, rtol=1e-6) for other in found)


def test_layers_that_stay_in_float_keep_their_biases(net: Converted, pictures: NDArray[np.float32]) -> None:
    content = net.float32.read_bytes()
    graph = TFLiteGraph(content)
    makers = graph.ops_of(CHANNELS)
    names = [graph.name(graph.results[op][0]) for op in makers]
    kept, changed = biases(corrected_of(content, pictures, names)), biases(corrected_of(content, pictures))
    before = biases(content)
    assert all(np.array_equal(kept[name], before[name]) for name in names)
    assert not any(np.array_equal(changed[name], before[name]) for name in names)


def biases(content: bytes) -> dict[str, NDArray[np.float32] | None]:
    """Return the bias of each layer by the name of what the layer makes."""
    graph = TFLiteGraph(content)
    return {
        graph.name(graph.results[op][0]): constant(graph.model, graph.tensors[graph.operands[op][2]])
        for op in graph.ops_of(CHANNELS)
    }
