"""Biases corrected for rounded weights, and channels of small weights in a file of int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx import GraphModule

from mobilekit.artifacts.executorch.runtime import ExecuTorchRuntime
from mobilekit.convert.executorch.bias import correct_biases
from mobilekit.convert.executorch.forms import FORMS
from mobilekit.convert.executorch.lower import Quantization, lower
from mobilekit.convert.program.program import output_names, program_of
from mobilekit.rewrites.fx.graph import trace
from mobilekit.rewrites.shared.int8 import in_steps
from tests.converting import normal

LARGE = 1000
SHAPE = (1, 3, 8, 8)
BATCHES = [[torch.from_numpy(row[None]) + 1] for row in normal(8, *SHAPE[1:])]


class Layers(nn.Module):
    """A convolution, a depthwise one that makes large values, and a dense layer of small weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Linear(8, 5)
        with torch.no_grad():
            self.b.weight *= LARGE
            self.c.weight /= LARGE

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(torch.relu(self.b(torch.relu(self.a(x)))).mean((2, 3)))


def _graph() -> GraphModule:
    return torch.export.export(Layers().eval(), tuple(BATCHES[0])).module()


def _mean_of_first(graph: GraphModule) -> torch.Tensor:
    """Return the mean of each channel that the first layer makes."""
    first = next(node for node in graph.graph.nodes if node.target is torch.ops.aten.conv2d.default)
    found = []

    class Seen(torch.fx.Interpreter):
        def run_node(self, node: torch.fx.Node) -> object:
            value = super().run_node(node)
            if node is first:
                found.append(value.mean((0, 2, 3)))
            return value

    for batch in BATCHES:
        Seen(graph).run(*batch)
    return torch.stack(found).mean(0)


@torch.no_grad()
@pytest.mark.parametrize("kept", [(), ("conv2d",)])
def test_the_mean_of_each_channel_comes_back(kept: tuple[str, ...]) -> None:
    graph = _graph()
    wanted = _mean_of_first(graph)
    correct_biases(graph, BATCHES, kept)
    weight = graph.get_parameter("a.weight")
    weight.copy_(in_steps(weight, (1, 2, 3)))
    shift = (_mean_of_first(graph) - wanted).abs().max()
    assert shift > 1e-3 if kept else shift < 1e-6


@pytest.mark.usefixtures("executorch")
def test_small_weights_keep_their_digits(tmp_path: Path) -> None:
    model, shapes = Layers().eval(), {"input": SHAPE}
    graph = trace(model, {"input": BATCHES[0][0]})
    facts = {"inputs": ["input"], "outputs": output_names(graph, shapes)}
    arrays = np.concatenate([each.numpy() for (each,) in BATCHES])
    quantization = Quantization([arrays], [], correct_bias=True)
    assert lower(program_of(graph, shapes, FORMS), tmp_path / "net.pte", tmp_path, facts, quantization).outside == []
    [made] = ExecuTorchRuntime(tmp_path / "net.pte").run({"input": arrays}).values()
    with torch.no_grad():
        wanted = model(torch.from_numpy(arrays)).numpy()
    error = np.linalg.norm(made - wanted) / np.linalg.norm(wanted)
    assert error < 0.01  # above .02 where the least scale is 2^-12, ExecuTorch's own
