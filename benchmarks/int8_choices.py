"""What the choice of ranges does to int8: the full ranges, and the power of the error that a narrower one minimises.

    .venv/bin/python benchmarks/int8_choices.py artifacts/ghostnetv2 artifacts/shufflenet

Prints the cosine of the int8 file against the float32 file on the evaluation photos, of all outputs together and of
the worst photo, for each bundle and choice. Bundles must have been calibrated on the built-in data.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from mobilekit.bundle import open_bundle, tflite_name
from mobilekit.convert import ranges
from mobilekit.convert.calibration import full_ranges, histograms_within
from mobilekit.convert.float_regions import tensors_to_keep
from mobilekit.convert.graph import TFLiteGraph
from mobilekit.convert.quantise_task import quantise
from mobilekit.differ import recipe_of
from mobilekit.inputs.builtin import calibration_inputs, evaluation_inputs
from mobilekit.runtimes.litert import LiteRTRuntime

CHOICES = ("full", 2.0, 2.5, 3.0, 4.0)


def main() -> None:
    """Measure each bundle that is named."""
    torch.set_num_threads(1)
    print(f"{'bundle':20s} {'choice':>8s} {'cosine':>8s} {'worst':>8s}")
    for name in sys.argv[1:]:
        for choice, (cosine, worst) in measure(Path(name)).items():
            print(f"{Path(name).name:20s} {choice!s:>8s} {cosine:8.5f} {worst:8.5f}", flush=True)


def measure(folder: Path) -> dict[str | float, tuple[float, float]]:
    """Return the cosine of all outputs together and of the worst photo, by choice."""
    recipe = recipe_of(open_bundle(folder)).recipe
    content = (folder / tflite_name("float32")).read_bytes()
    calibration = {name: array.transpose(0, 2, 3, 1) for name, array in calibration_inputs(recipe).items()}
    inputs = evaluation_inputs(recipe).inputs
    truth = _run(content, inputs)
    full = full_ranges(content, calibration)
    histograms = histograms_within(content, calibration, full)
    found = {}
    for choice in CHOICES:
        if choice != "full":
            ranges.POWER = float(choice)
        chosen = full if choice == "full" else full | {i: one.best_range() for i, one in histograms.items()}
        graph = TFLiteGraph(content)
        for index, (low, high) in chosen.items():
            graph.set_range(index, low, high)
        outputs = _run(quantise(graph.content(), tensors_to_keep(content, recipe.int8.keep_float)), inputs)
        found[choice] = _cosine(truth, outputs), min(map(_cosine, truth, outputs))
    return found


def _run(content: bytes, inputs: dict[str, np.ndarray]) -> np.ndarray:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.tflite"
        path.write_bytes(content)
        return next(iter(LiteRTRuntime(path).run(inputs).values()))


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.vdot(one, other) / np.linalg.norm(one) / np.linalg.norm(other))


if __name__ == "__main__":
    main()
