"""Outputs are held to be probabilities where they are those on all inputs, and not by chance on some."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.fx import GraphModule, symbolic_trace

from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.artifacts.runtime import Arrays, Runtime
from mobilekit.parity.ledger.ledger import measure
from mobilekit.parity.ledger.result import Row
from mobilekit.recipes.inputs.builtin import Evaluation
from mobilekit.recipes.inputs.extra import random_inputs
from mobilekit.recipes.schema import Limit, Recipe
from mobilekit.store.stages import Stage

LOOSE = {"tflite-float16": Limit(relative_l2=1, cosine=-1, top1_agreement=0, topk_agreement=0, reason="a test")}


class Classifier(nn.Module):
    """Gives the softmax of its logits, but larger by what the largest value is above `least`."""

    def __init__(self, least: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(3, 4)
        self.least = least

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        beyond = (x.amax((1, 2, 3)) - self.least).relu()
        return self.head(x.mean((2, 3))).softmax(1) * (1 + beyond).unsqueeze(1)


class Scaled(Runtime):
    """The model, with outputs 5 % too large."""

    def __init__(self, model: GraphModule) -> None:
        self.inner = TorchRuntime(model)

    def _run(self, inputs: Arrays) -> Arrays:
        return {name: output * 1.05 for name, output in self.inner.run(inputs).items()}


def measured(least: float) -> Row:
    """Return the float16 row; real inputs go up to 1, random ones beyond 2."""
    recipe = Recipe(limits=LOOSE)
    random = random_inputs(recipe, 4)
    real = {name: array / abs(array).max() for name, array in random.items()}
    assert max(array.max() for array in random.values()) > 2
    model = symbolic_trace(Classifier(least).eval())
    files = {Stage.TFLITE_FLOAT16: lambda: Scaled(model)}
    rows = measure(model, model, files, recipe, Evaluation("four pictures", real, None), random).rows
    (row,) = [row for row in rows if (row.stage, row.against) == (Stage.TFLITE_FLOAT16, Stage.REFERENCE)]
    return row


@pytest.mark.parametrize(("least", "names"), [(1000.0, ["probabilities"]), (2.0, [])], ids=["on all", "on some"])
def test_outputs_must_stay_the_probabilities_that_they_are_on_all_inputs(least: float, names: list[str]) -> None:
    row = measured(least)
    assert [finding.invariant for finding in row.findings] == names
    assert (row.verdict == "fail") == bool(names)
