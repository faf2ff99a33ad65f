"""What all peers of one model share: weights, inputs to calibrate and to measure on, and PyTorch's outputs.

Runs in mobilekit's own environment.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers.network import load
from benchmarks.peers.worker import serve
from mobilekit.models.analysis.macs import count_macs
from mobilekit.models.registry import find_model
from mobilekit.parity.ledger.limits import QUANTIZED_COSINE
from mobilekit.recipes.inputs.builtin import calibration_inputs, evaluation_inputs
from mobilekit.recipes.schema import Recipe
from mobilekit.store.bundle import open_bundle
from mobilekit.store.stages import Stage


def convert(bundle: str) -> None:
    """Write weights.safetensors, calibration.npy, inputs.npy, reference.npy and facts.json into the working directory.

    The limit on float32 is the one that mobilekit derives for its own file, from the model's own rounding.
    """
    opened = open_bundle(Path(bundle))
    recipe = Recipe.model_validate(opened.manifest["recipe"]["content"])
    model = opened.manifest["model"]["name"]
    Path("weights.safetensors").write_bytes((opened.path / Stage.REFERENCE.file).read_bytes())
    inputs = evaluation_inputs(recipe).inputs["input"]
    np.save("inputs.npy", inputs)
    np.save("calibration.npy", calibration_inputs(recipe)["input"])
    with torch.no_grad():
        np.save("reference.npy", load(model, "weights.safetensors")(torch.from_numpy(inputs)).numpy())
    stages = {(stage["stage"], stage["against"]): stage for stage in opened.ledger["stages"]}
    stage = stages["tflite-float32", "reference"]
    [limit] = [limit["limit"] for limit in stage["limits"] if limit["metric"] == "max_abs"]
    facts = {
        "size": recipe.input.size,
        "macs": count_macs(find_model(model).create(), recipe.input.shape),
        "max_abs": limit,
        "cosine": QUANTIZED_COSINE,
    }
    Path("facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    serve(convert, None)
