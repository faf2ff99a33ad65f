"""What the recipes make of the families has no value of five axes; tests/zoo sees all files, at three sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mobilekit.convert.onnx import write_onnx
from mobilekit.jobs.source import recipe_of_model
from mobilekit.models.build import effective_options
from mobilekit.models.registry import find_model
from mobilekit.rewrites.engine import rewrite
from mobilekit.rewrites.fx.graph import trace
from tests.axes import most_axes_in, most_axes_of

FAMILIES = ("ghostnet", "ghostnetv2", "shufflenet", "efficientvit", "efficientvit_b1")


@pytest.mark.parametrize("model", FAMILIES)
def test_no_value_of_a_family_has_five_axes(model: str, tmp_path: Path) -> None:
    """At the recipe's own size, at which GhostNetV2 enlarges 14, 7 and 3 rows to 28, 14 and 7."""
    loaded, path = recipe_of_model(model), tmp_path / "model.onnx"
    recipe, entry = loaded.recipe, find_model(model)
    reference = entry.create(**effective_options(entry, recipe.model_options, recipe.input.size))
    graph = rewrite(reference.eval(), loaded, prove=False).graph  # exports prove; here only the form counts
    assert most_axes_of(graph, torch.zeros(recipe.shapes["input"])) == 4
    write_onnx(graph, recipe.shapes, path)
    assert most_axes_in(path) == 4


def test_five_axes_would_be_seen(tmp_path: Path) -> None:
    class Blocks(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(1, 3, 4, 2, 8).amax(3)

    x, path = torch.zeros(1, 3, 8, 8), tmp_path / "model.onnx"
    graph = trace(Blocks(), {"input": x})
    assert most_axes_of(graph, x) == 5
    write_onnx(graph, {"input": (1, 3, 8, 8)}, path)
    assert most_axes_in(path) == 5
