"""Writes what every way is given: a rewritten network's ONNX file, and inputs with ONNX Runtime's answers.

`python -m benchmarks.converters.prepare MODEL FOLDER`
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.converters.networks import FAMILIES, INPUTS, TRAINED, source_name
from mobilekit.artifacts.onnx import open_session
from mobilekit.convert.onnx import simplify, write_onnx
from mobilekit.jobs.build import build
from mobilekit.jobs.source import Source, choose_recipe
from mobilekit.recipes.inputs.builtin import EVALUATION_PHOTOS, varied_views
from mobilekit.recipes.inputs.extra import random_inputs
from mobilekit.recipes.inputs.preprocess import stack
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.recipes.picture import Input
from mobilekit.store.bundle import INPUT
from mobilekit.store.files import write_json

PHOTOS = 24
PHOTOS_OF_TRAINED = 120


def recipe_of(model: str) -> LoadedRecipe:
    """Return a family's own recipe, and the default one with the network's own pictures for others."""
    loaded = choose_recipe(model if model in FAMILIES else source_name(model), None)
    spec = Input.model_validate({**loaded.recipe.input.model_dump(), **INPUTS.get(model, {})})
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"input": spec}))


def prepare(model: str, folder: Path) -> None:
    """Write `model.onnx`, the rewritten graph, inputs and the answers of ONNX Runtime."""
    torch.set_num_threads(1)
    loaded = recipe_of(model)
    built = build(Source(source_name(model), loaded))
    graph = built.rewritten(prove=False).graph
    write_onnx(graph, loaded.recipe.shapes, folder / "raw.onnx", loaded.recipe.onnx.opset)
    simplify(folder / "raw.onnx", folder / "model.onnx", folder)
    torch.save(graph, folder / "graph.pt")
    count = PHOTOS_OF_TRAINED if model in TRAINED else PHOTOS
    random = random_inputs(loaded.recipe, count=2)
    photos = {INPUT: stack(varied_views(EVALUATION_PHOTOS, count), loaded.recipe.input)}
    session = open_session((folder / "model.onnx").read_bytes())
    for name, inputs in (("random", random), ("photos", photos)):
        rows = [session.run(None, {INPUT: image[None]})[0] for image in inputs[INPUT]]
        np.savez(folder / f"{name}.npz", inputs=inputs[INPUT], expected=np.concatenate(rows))
    arrays: dict[str, Any] = {**built.calibration.arrays}
    np.savez(folder / "calibration.npz", **arrays)
    write_json(
        folder / "prepared.json", {"int8": loaded.recipe.int8.model_dump(mode="json"), "trained": model in TRAINED}
    )


if __name__ == "__main__":
    Path(sys.argv[2]).mkdir(parents=True, exist_ok=True)
    prepare(sys.argv[1], Path(sys.argv[2]).absolute())
