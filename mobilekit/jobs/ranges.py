"""What the smaller formats will do to a model's activations, told without converting it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.fx import GraphModule

from mobilekit.jobs.bundle_inputs import calibration_of_bundle
from mobilekit.jobs.bundle_models import models_of_bundle, recipe_of_bundle
from mobilekit.jobs.source import Source, build
from mobilekit.parity.ranges.lint import lint
from mobilekit.parity.ranges.result import RangeLint
from mobilekit.recipes.inputs.preprocess import Arrays
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.store.bundle import open_bundle

Progress = Callable[[str], None]


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
    note: str = ""
    """A sentence where a bundle is judged on other inputs than it was calibrated on."""

    def to_json(self) -> dict[str, Any]:
        """Return them as JSON data."""
        content = {"model": self.model, "recipe": self.recipe, "weights": self.weights, **self.lint.to_json()}
        return {**content, "notes": [self.note] if self.note else []}


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
    return Ranges(built.entry.name, source.recipe.name, reference.weights_source, reference.is_trained, found)


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
    return Ranges(spec["name"], loaded.name, weights["source"], weights["trained"], found, note)


def _lint(graph: GraphModule, arrays: Arrays, loaded: LoadedRecipe, progress: Progress) -> RangeLint:
    progress("recording activations")
    found, _recording = lint(graph, arrays, loaded.recipe)
    return found
