"""What a program computes of the model's own tensors alone is a tensor of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from mobilekit.convert.program.folded import fold_constants
from tests.programs import plain

aten = torch.ops.aten
Step = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
SHAPE = (1, 3, 4, 4)


class Weighted(nn.Module):
    """A step on an input and a tensor of the model's, (3, 1, 1)."""

    def __init__(self, step: Step, *, trained: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.step = step
        weight = torch.rand(3, 1, 1) + 0.5
        self.weight = nn.Parameter(weight) if trained else nn.Buffer(weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.step(x, self.weight)


def folded(net: nn.Module) -> tuple[list[str], list[tuple[str, tuple[int, ...]]]]:
    """Return the steps that are left and the tensors that are held; outputs are as before."""
    graph = plain(net, SHAPE).module(check_guards=False)
    fold_constants(graph)
    steps = [node.target.name().removeprefix("aten::") for node in graph.graph.nodes if node.op == "call_function"]
    held = [(name, tuple(value.shape)) for name, value in graph.state_dict().items()]
    image, graph = torch.rand(SHAPE), copy.deepcopy(graph)  # one that writes into a tensor shares it with the net
    torch.testing.assert_close(graph(image), net(image), rtol=1e-6, atol=0)
    return steps, held


def test_a_computed_weight_is_held_and_the_one_it_is_made_of_is_not() -> None:
    steps, held = folded(Weighted(lambda x, weight: x * (weight.exp() + 1).reshape(1, 3, 1, 1)))
    assert (steps, held) == (["mul.Tensor"], [("folded_0", (1, 3, 1, 1))])


def test_parts_of_one_tensor_are_tensors() -> None:
    def parts(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        first, rest = weight.split([1, 2])
        return x[:, :2] * rest + x[:, 2:] * first

    steps, held = folded(Weighted(parts))
    assert "split_with_sizes" not in steps
    assert held == [("folded_0", (1, 1, 1)), ("folded_1", (2, 1, 1))]


def test_one_that_is_read_as_it_is_stays_too() -> None:
    assert folded(Weighted(lambda x, weight: x * weight + weight.exp()))[1] == [
        ("weight", (3, 1, 1)),
        ("folded_0", (3, 1, 1)),
    ]


def test_what_takes_much_more_room_than_it_is_made_of_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilekit.convert.program.folded._FEW", 16)
    steps, held = folded(Weighted(lambda x, weight: x + weight.exp().repeat(1, 4, 4)))
    assert (steps, held) == (["repeat", "add.Tensor"], [("folded_0", (3, 1, 1))])


def test_numbers_that_are_counted_are_tensors() -> None:
    """Coordinates of places."""

    def placed(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        rows, columns = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
        return x * weight + torch.stack([rows, columns]).float().sum(0) / 3

    steps, held = folded(Weighted(placed))
    assert (steps, held) == (["mul.Tensor", "add.Tensor"], [("weight", (3, 1, 1)), ("folded_0", (4, 4))])


def test_a_tensor_that_is_written_into_is_not_constant() -> None:
    def counting(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        before = weight.exp()
        weight[:1].add_(x.mean())
        return x * before * weight.exp()

    steps, held = folded(Weighted(counting, trained=False))
    assert (steps.count("exp"), held) == (2, [("weight", (3, 1, 1))])


def test_random_numbers_are_not_constant() -> None:
    net = Weighted(lambda x, weight: x + 0 * torch.bernoulli(weight.sigmoid()))
    assert folded(net)[0][:1] == ["bernoulli"]
