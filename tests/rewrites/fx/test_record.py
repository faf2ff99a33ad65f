"""What a graph's steps make, recorded."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from mobilekit.rewrites.fx.graph import trace
from mobilekit.rewrites.fx.record import distance, record_values

X = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 4, 4), dtype=np.float32))


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)  # one draw in eleven has no negative sum
        self.conv = nn.Conv2d(3, 3, 1)
        self.register_buffer("offset", torch.ones(1))

    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        y = self.conv(x) + self.offset
        return y.relu_() * scale * y.shape[0]


INPUTS = {"input": X, "scale": torch.full((2, 1, 1, 1), 2.0)}


def test_steps_have_the_values_that_they_made_also_where_the_model_works_in_place() -> None:
    model = InPlace().eval()
    graph = trace(model, INPUTS)
    values = {node.name: value for node, value in record_values(graph, INPUTS).items()}
    with torch.no_grad():
        torch.testing.assert_close(values["add"], model.conv(X) + 1)
        torch.testing.assert_close(values["relu"], (model.conv(X) + 1).relu())
    torch.testing.assert_close(values["x"], X)
    assert set(values) == {"x", "scale", "conv", "add", "relu", "mul", "mul_1"}
    assert values["add"].min() < 0, "it was not overwritten"


def test_another_format_leaves_the_graph_and_its_steps() -> None:
    graph = trace(InPlace().eval(), INPUTS)
    values = record_values(graph, INPUTS, torch.float64)
    assert {value.dtype for value in values.values()} == {torch.float64}
    assert {parameter.dtype for parameter in graph.parameters()} == {torch.float32}
    assert set(values) <= set(graph.graph.nodes), "steps of the graph that was given"
    single = record_values(graph, INPUTS)
    for node, value in values.items():
        torch.testing.assert_close(single[node].double(), value, rtol=1e-5, atol=1e-6)


def test_a_step_that_gives_a_parameter_back_has_its_value() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.full((3, 1, 1), 2.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.dropout(self.scale, 0.5, train=False)

    values = record_values(trace(Scaled(), {"input": X}), {"input": X})
    assert not any(value.requires_grad for value in values.values())
    assert np.array_equal(list(values.values())[-1].numpy(), 2 * X.numpy())


def test_some_steps_alone() -> None:
    graph = trace(InPlace().eval(), INPUTS)
    wanted = {node for node in graph.graph.nodes if node.name in ("add", "offset", "sym_size_int")}
    values = record_values(graph, INPUTS, nodes=wanted)
    assert {node.name for node in values} == {node.name for node in wanted} & {"add", "offset"}


@pytest.mark.parametrize("size", [1, 63, 64, 1000])
def test_the_distance_of_two_arrays(size: int) -> None:
    value = np.random.default_rng(size).standard_normal(size)
    for factor in (1.0, 1.001, 1.4):
        assert distance(value, factor * value, 0.5) == pytest.approx(factor - 1, abs=1e-12)
    assert distance(value, 2 * value, 0.5) == math.inf
    assert distance(np.zeros(size), value, 0.5) == math.inf
    assert distance(value, np.full(size, math.nan), 0.5) == math.inf
