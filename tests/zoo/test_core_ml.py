"""Every family's rewritten model as a package for Core ML: what its program holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mobilekit.jobs.build import build
from mobilekit.jobs.source import Source, recipe_of_model
from mobilekit.models.names import NO_WEIGHTS
from tests.core_ml import constants, converted_graph
from tests.zoo import MODELS, SIZE

MOST_AXES = 5
"""Of a tensor that Core ML takes."""


@pytest.mark.usefixtures("coremltools")
@pytest.mark.parametrize("model", MODELS)
def test_a_family_is_converted_with_its_own_weights(model: str, tmp_path: Path) -> None:
    loaded = recipe_of_model(model)
    size = int(SIZE or 64)
    recipe = loaded.recipe.model_copy(update={"input": loaded.recipe.input.model_copy(update={"size": size})})
    graph = build(Source(model, replace(loaded, recipe=recipe), NO_WEIGHTS)).rewritten(prove=False).graph
    found = converted_graph(graph, recipe.file_shapes, tmp_path)
    made = [each for step in found.steps for each in step.outputs]
    assert max(len(each.shape) for each in made) <= MOST_AXES
    assert {each.dtype for each in made} == {"float16", "float32"}
    held = [each for each in constants(tmp_path / "net.mlpackage").values() if each.dtype == np.float16]
    kernels = [weight for name, weight in graph.state_dict().items() if name.endswith("weight") and weight.ndim == 4]
    assert kernels
    for weight in kernels:
        rounded = weight.numpy().astype(np.float16)
        assert any(each.shape == rounded.shape and np.array_equal(each, rounded) for each in held)
