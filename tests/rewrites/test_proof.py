"""The inputs on which rewrites are proved, and models that give no numbers for them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.models.inputs import call
from mobilekit.recipes.inputs.extra import random_inputs
from mobilekit.recipes.load import LoadedRecipe, parse_recipe
from mobilekit.recipes.picture import Input
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.engine import rewrite
from mobilekit.rewrites.fx.graph import trace
from mobilekit.rewrites.fx.precision import compute_in
from mobilekit.rewrites.proof import Case, cases_for, compare, outputs_of, relative_error, smallest_case
from mobilekit.rewrites.report import Proof
from tests.nets_of_several_inputs import MASKED, Masked, recipe


def test_cases_have_all_inputs_of_fitting_shapes_in_their_ranges() -> None:
    mine = recipe(MASKED)
    shapes = [{name: tuple(tensor.shape) for name, tensor in case.make().items()} for case in cases_for(mine)]
    assert shapes[0] == {"input": (2, 3, 32, 32), "mask": (2, 1, 32, 32), "features": (2, 6, 8, 8), "prior": (2, 4)}
    assert shapes[1] == {"input": (1, 3, 32, 32), "mask": (1, 1, 32, 32), "features": (1, 6, 8, 8), "prior": (1, 4)}
    assert {name: tuple(tensor.shape) for name, tensor in smallest_case(mine).make().items()} == mine.shapes
    case = cases_for(mine)[0]
    inputs = case.make()
    assert {tensor.dtype for tensor in inputs.values()} == {torch.float64}
    assert 0 <= inputs["mask"].min() < 0.01 < 0.99 < inputs["mask"].max() <= 1
    assert all(torch.equal(tensor, inputs[name]) for name, tensor in case.make().items())
    alone = cases_for(recipe("input: {size: 32}"))[0]
    assert torch.equal(alone.make()["input"], inputs["input"])
    assert alone.shapes.to_json() == {"shape": [2, 3, 32, 32], "seed": 0, "extra_inputs": {}}
    assert case.shapes.to_json()["extra_inputs"] == {"mask": [2, 1, 32, 32], "features": [2, 6, 8, 8], "prior": [2, 4]}


def test_rewrites_of_several_inputs_are_proved_on_them() -> None:
    model = Masked().eval()
    loaded = parse_recipe(MASKED, "mine", "mine.yaml")
    result = rewrite(model, loaded)
    (step,) = result.steps
    assert step.applied == ("stem.1",)
    assert step.proof is not None
    assert step.proof.holds
    assert [case.shape for case in step.proof.cases] == [(2, 3, 32, 32), (1, 3, 32, 32)]
    inputs = {name: torch.from_numpy(array) for name, array in random_inputs(loaded.recipe, 3).items()}
    torch.testing.assert_close(call(result.graph, inputs), call(model, inputs), rtol=1e-5, atol=1e-5)


def test_relative_errors() -> None:
    one, nan = torch.ones(2), torch.tensor([1.0, float("nan")])
    assert relative_error(torch.tensor([1.0, -4.0]), torch.tensor([1.0, -3.0])) == 0.25
    assert relative_error(one, torch.ones(3)) == float("inf")
    assert relative_error(one, nan) == float("inf")
    assert relative_error(torch.zeros(2), torch.zeros(2)) == 0.0
    assert relative_error(torch.zeros(2), one) == float("inf")
    case = Case((1, 1, 1, 1), 0)
    assert compare({case: one}, {}).holds is False
    assert Proof(1e-9, ()).holds
    assert not Proof(1.1e-9, ()).holds
    assert torch.equal(case.make()["input"], case.make()["input"])


def test_of_several_outputs_the_worst_counts() -> None:
    before = {"near": torch.tensor([2.0]), "far": torch.tensor([1.0, -4.0])}
    after = {"near": torch.tensor([2.0]), "far": torch.tensor([1.0, -3.0])}
    assert relative_error(before, after) == 0.25
    assert relative_error(tuple(before.values()), tuple(after.values())) == 0.25
    case, other = Case((1, 1, 1, 1), 0), Case((1, 1, 1, 1), 1)
    assert compare({case: before, other: before}, {case: before, other: after}).relative_error == 0.25


def test_a_model_without_numbers_is_not_a_rewrites_fault() -> None:
    """A weight that is not a number, and a division by zero: no rewrite is accused."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    recipe = LoadedRecipe("own", Recipe(rewrites=({"name": "fold-batch-norm"},), input=Input(size=16)))
    with torch.no_grad():
        net[0].bias[1] = torch.nan
    with pytest.raises(UsageError, match=r"not numbers \(NaN\), before any rewrite. 0.bias holds some."):
        rewrite(net, recipe)
    with pytest.raises(UsageError, match=r"before any rewrite\.\nRun it"):
        rewrite(DividesByZero().eval(), recipe)


class DividesByZero(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return infinities."""
        return x / (x - x)


def test_labels_that_change_are_counted() -> None:
    before = torch.tensor([[1, 2], [3, 4]])
    assert relative_error(before, before) == 0
    assert relative_error(before, before + torch.tensor([[0, 9], [0, 0]])) == 0.25
    assert relative_error({"mask": before > 2}, {"mask": before > 3}) == 0.25


def test_a_model_of_one_image_is_proved_image_by_image() -> None:
    class OneImage(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(1, 3, -1).sum(2)

    graph = trace(OneImage(), {"input": torch.zeros(1, 3, 8, 8)})
    case = Case((2, 3, 8, 8), 0)
    outputs = outputs_of(compute_in(graph, torch.float64), (case,))[case]
    assert len(outputs) == 2
    for image, output in zip(case.make()["input"], outputs, strict=True):
        torch.testing.assert_close(output, image.sum((1, 2))[None])
