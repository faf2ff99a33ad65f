"""The exported program of a graph: its outputs in their order, bytes for pictures, and modules for each step."""

from __future__ import annotations

import torch
from torch import nn

from mobilekit.convert.executorch.forms import FORMS
from mobilekit.convert.program.program import output_names, program_of
from mobilekit.rewrites.fx.graph import trace
from tests.programs import TwoParts

SHAPES = {"input": (2, 3, 8, 8)}


class Nested(nn.Module):
    """Two outputs in a dict, one of which is used on."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        half = x / 2
        return {"half": half, "sum/3": (half + x).sum((1, 2, 3))}


def test_outputs_are_in_the_order_of_their_names() -> None:
    graph = trace(Nested(), {"input": torch.zeros(SHAPES["input"])})
    assert output_names(graph, SHAPES) == ["half", "sum_3"]
    image = torch.randn(SHAPES["input"])
    half, summed = program_of(graph, SHAPES, FORMS).module()(image)
    assert torch.equal(half, image / 2)
    torch.testing.assert_close(summed, (1.5 * image).sum((1, 2, 3)))


def test_pictures_that_come_as_bytes_are_turned_into_numbers() -> None:
    graph = trace(Nested(), {"input": torch.zeros(SHAPES["input"])})
    picture = torch.randint(0, 256, SHAPES["input"], dtype=torch.uint8)
    program = program_of(graph, SHAPES, FORMS, ("input",))
    assert torch.equal(program.module()(picture)[0], picture.float() / 2)
    (name,) = program.graph_signature.user_inputs
    assert next(node for node in program.graph.nodes if node.name == name).meta["val"].dtype is torch.uint8


def test_each_step_knows_its_module() -> None:
    graph = trace(TwoParts(), {"input": torch.zeros(1, 3, 8, 8)})
    program = program_of(graph, {"input": (1, 3, 8, 8)}, FORMS)
    steps = [node for node in program.graph.nodes if node.op == "call_function"]
    modules = [[*node.meta["nn_module_stack"].values()][-1][0] for node in steps]
    assert [*dict.fromkeys(modules)] == ["first", "up", "last"]  # those of a form have the module of its step
