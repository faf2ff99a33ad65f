"""What formats round in the simulation is what they round in files: LiteRT's outputs are those of the simulation."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx import GraphModule
from torch.nn import functional as F

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.artifacts.runtime import Arrays
from mobilekit.convert.onnx import simplify, write_onnx
from mobilekit.convert.tflite import write_tflite
from mobilekit.parity.ledger.format_error import DYNAMIC_LEAST
from mobilekit.parity.ledger.rounding import hold_products, round_as_dynamic, round_weights_to_float16
from mobilekit.rewrites.fx.graph import trace
from tests.converting import normal

C, SIZE = 32, 24
MAP = {"input": torch.zeros(1, 3, SIZE, SIZE)}


class Kinds(nn.Module):
    """Layers of each kind that files round in a way of their own, each with an output."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.stem = nn.Conv2d(3, C, 3, 2, 1)
        self.maps = nn.ModuleDict(
            {
                "dense": nn.Conv2d(C, C, 3, 2, 1),
                "grouped": nn.Conv2d(C, 64, 3, padding=1, groups=2),
                "depthwise": nn.Conv2d(C, C, 7, padding=3, groups=C),
                "few": nn.Conv2d(C, C, 3, padding=1, groups=C),
                "pointwise": nn.Conv2d(C, 8 * C, 1),
                "narrow": nn.Conv2d(C, 2 * C, 1),
                "strided": nn.Conv2d(C, 64, 1, 2),
                "grouped_pointwise": nn.Conv2d(C, 128, 1, groups=2),
                "transposed": nn.ConvTranspose2d(C, C, 3, 2, 1, 1),
                "transposed_in_groups": nn.ConvTranspose2d(C, 2 * C, 2, 2, groups=2),
                "transposed_by_channel": nn.ConvTranspose2d(C, C, 6, 2, 2, groups=C),
                "norm": nn.BatchNorm2d(C),
            }
        )
        norm = self.maps["norm"]
        norm.running_mean, norm.running_var = torch.randn(C) * 3, torch.rand(C) * 4 + 0.5
        self.along = nn.ModuleDict({"rows": nn.Conv1d(C, C, 3, padding=1), "one_by_one": nn.Conv1d(C, 8 * C, 1)})
        self.tokens = nn.Linear(C, 64)
        self.matrix, self.matrices = nn.Parameter(torch.randn(C, 64) / 6), nn.Parameter(torch.randn(4, 8, 64) / 3)
        self.summed = nn.Parameter(torch.randn(4, 8, 64) / 3)
        self.left = nn.Parameter(torch.randn(16, 144) / 12)
        self.places = nn.Parameter(torch.randn(144, C))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.stem(x)
        r = y.relu()
        rows = r.flatten(2)
        tokens = rows.transpose(1, 2)
        heads = tokens.reshape(-1, 144, 4, 8).transpose(1, 2)
        return {
            **{name: layer(r).flatten(1) for name, layer in self.maps.items()},
            **{name: layer(rows).mean(2) for name, layer in self.along.items()},
            "tokens": self.tokens(tokens),
            "matrix": tokens @ self.matrix,
            "matrices": (heads @ self.matrices).mean(2).flatten(1),
            "sums": torch.einsum("bhnc,hcd->bnhd", heads, self.summed).flatten(1),
            "left": self.left @ tokens,
            "places": tokens + self.places,
            "numbers": ((r * 0.1 + 1 / 3) / 3 - 0.7).flatten(1),
            "clipped": y.clamp(-0.3, 0.7).flatten(1),
            "gate": F.hardsigmoid(y).flatten(1),
            "power": (r + 0.1).pow(1.3).flatten(1),
        }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[GraphModule, dict[str, Path]]:
    folder = tmp_path_factory.mktemp("kinds")
    graph = trace(Kinds().eval(), MAP)
    write_onnx(graph, {"input": (1, 3, SIZE, SIZE)}, folder / "raw.onnx")
    (folder / "scratch").mkdir()
    simplify(folder / "raw.onnx", folder / "net.onnx", folder / "scratch")
    made = {word: folder / f"{word}.tflite" for word in ("float32", "float16", "dynamic")}
    write_tflite(folder / "net.onnx", made, None, folder / "scratch")
    return graph, made


def differences(one: Arrays, other: Arrays) -> dict[str, float]:
    """Return the relative L2 distance of each output."""
    assert one.keys() == other.keys()
    return {name: float(np.linalg.norm(one[name] - other[name]) / np.linalg.norm(one[name])) for name in one}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "simulate", "in_float"),
    [
        ("float16", round_weights_to_float16, ()),
        (
            "dynamic",
            lambda graph: round_as_dynamic(graph, DYNAMIC_LEAST),
            (
                "depthwise",
                "few",
                "narrow",
                "transposed_by_channel",
                "norm",
                "left",
                "places",
                "numbers",
                "clipped",
                "gate",
                "power",
            ),
        ),
    ],
)
def test_the_simulation_rounds_what_the_file_rounds(
    files: tuple[GraphModule, dict[str, Path]],
    word: str,
    simulate: Callable[[GraphModule], None],
    in_float: tuple[str, ...],
) -> None:
    """What is left between the two is float32's rounding, and a step of a few values that lie between two."""
    graph, made = files
    inputs = {"input": normal(4, 3, SIZE, SIZE)}
    plain = TorchRuntime(graph).run(inputs)
    simulated = copy.deepcopy(graph)
    simulate(simulated)
    found = LiteRTRuntime(made[word]).run(inputs)
    lost, left = differences(plain, found), differences(TorchRuntime(simulated).run(inputs), found)
    for name, error in left.items():
        if name in in_float:
            assert max(lost[name], error) < 1e-6, name
        else:
            assert 1e-5 < lost[name] < 2e-2, name
            assert error < 0.05 * lost[name], name


@pytest.mark.parametrize(("outputs", "is_rounded"), [(8 * C, True), (2 * C, False)])
def test_a_layer_of_two_names_is_rounded_or_left_under_both(outputs: int, is_rounded: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(C, outputs, 1)
            self.other = self.one

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.one(x) + self.other(x.relu())

    image = torch.from_numpy(normal(1, C, SIZE, SIZE))
    graph = trace(Net().eval(), {"input": image})
    before = graph(image)
    round_as_dynamic(graph, DYNAMIC_LEAST)
    assert (not torch.equal(graph(image), before)) == is_rounded


def test_integers_that_a_graph_counts_with_stay() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("index", torch.arange(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            order = x.argsort(1) * 4097 + 2049
            return (order / 4097).floor() + x * 2049 + 1e6

    graph, x = trace(Net(), {"input": torch.zeros(1, 4)}), torch.tensor([[0.25, -1.0, 3.0, 0.5]])
    wanted = x.argsort(1) + x * 2048 + 65504
    round_weights_to_float16(graph)
    assert torch.equal(graph(x), wanted)


def test_products_by_stored_matrices_keep_their_names_and_values() -> None:
    graph, x = trace(Kinds().eval(), MAP), torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    names, before = [node.name for node in graph.graph.nodes if node.op != "get_attr"], graph(x)
    hold_products(graph)
    assert [node.name for node in graph.graph.nodes if node.op != "get_attr"] == names
    held = [node.name for node in graph.graph.nodes if node.op == "call_module"]
    assert {"matmul", "matmul_1", "einsum"} <= set(held)
    assert "matmul_2" not in held, "what is stored is on its left"
    after = graph(x)
    assert all(torch.equal(after[name], value) for name, value in before.items())
