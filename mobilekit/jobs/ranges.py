"""What the smaller formats will do to a model's activations, told without converting it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.fx import GraphModule

from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.jobs.build import build
from mobilekit.jobs.bundle_inputs import calibration_of_bundle
from mobilekit.jobs.bundle_models import models_of_bundle, recipe_of_bundle
from mobilekit.jobs.source import Source
from mobilekit.parity.ledger.float16_arithmetic import float16_losses
from mobilekit.parity.ranges.lint import lint
from mobilekit.parity.ranges.result import RangeLint
from mobilekit.recipes.inputs.preprocess import Arrays
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.store.bundle import open_bundle

Progress = Callable[[str], None]
_SIMULATED = 8
"""Inputs that float16 arithmetic is simulated on, which takes a second or two for that many."""


@dataclass(frozen=True)
class Ranges:
    """Warnings, and what they are about."""

    model: str
    recipe: str
    weights: str
    """Where they are from."""
    is_trained: bool
    """Whether they mean something."""
    lint: RangeLint
    float16_losses: dict[str, float]
    """What float16 arithmetic moves each output by in a simulation, as relative L2; not a number where it overflows."""
    note: str = ""
    """A sentence where a bundle is judged on other inputs than it was calibrated on."""

    def to_json(self) -> dict[str, Any]:
        """Return them as JSON data."""
        content = {"model": self.model, "recipe": self.recipe, "weights": self.weights, **self.lint.to_json()}
        losses = {name: loss if math.isfinite(loss) else None for name, loss in self.float16_losses.items()}
        return {**content, "float16_arithmetic": losses, "notes": [self.note] if self.note else []}


def ranges_of_model(source: Source, progress: Progress = lambda _message: None) -> Ranges:
    """Record a model's activations as its export would, and return the warnings.

    Args:
        source: What the model is built of.
        progress: Is told what goes on.

    Raises:
        UsageError: There is no such model, or something does not fit.
    """
    built = build(source, progress)
    progress("rewriting")
    graph, arrays, reference = built.rewritten(prove=False).graph, built.calibration.arrays, built.reference
    found = _lint(graph, arrays, source.recipe, progress)
    losses = _losses(graph, arrays, progress)
    return Ranges(built.entry.name, source.recipe.name, reference.weights_source, reference.is_trained, found, losses)


def ranges_of_bundle(
    path: Path,
    calibration: Path | None = None,
    reference: str | None = None,
    progress: Progress = lambda _message: None,
) -> Ranges:
    """Record the activations of a bundle's rewritten model anew, and return the warnings.

    Args:
        path: The bundle.
        calibration: Pictures or .npz, those of the export where it was calibrated on the user's; the built-in data of
            the bundle's recipe without.
        reference: `FILE.py:FACTORY`, for a bundle that was exported from one.
        progress: Is told what goes on.

    Raises:
        UsageError: It is no bundle, its model or recipe is unknown here, or the calibration is another one.
    """
    bundle = open_bundle(path)
    loaded = recipe_of_bundle(bundle)
    progress("reading calibration inputs")
    inputs, note = calibration_of_bundle(bundle, loaded.recipe, calibration)
    _model, rewritten = models_of_bundle(bundle, loaded, reference)
    spec, weights = bundle.manifest["model"], bundle.manifest["model"]["weights"]
    found = _lint(rewritten.graph, inputs.arrays, loaded, progress)
    losses = _losses(rewritten.graph, inputs.arrays, progress)
    return Ranges(spec["name"], loaded.name, weights["source"], weights["trained"], found, losses, note)


def _losses(graph: GraphModule, arrays: Arrays, progress: Progress) -> dict[str, float]:
    """Return what float16 arithmetic does on some of the inputs: GPUs and NPUs compute in it, whatever the weights."""
    progress("computing in float16")
    some = {name: array[:_SIMULATED] for name, array in arrays.items()}
    return float16_losses(graph, some, TorchRuntime(graph).run(some))


def _lint(graph: GraphModule, arrays: Arrays, loaded: LoadedRecipe, progress: Progress) -> RangeLint:
    progress("recording activations")
    found, _recording = lint(graph, arrays, loaded.recipe)
    return found
