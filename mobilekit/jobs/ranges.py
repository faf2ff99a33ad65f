"""What the smaller formats will do to a model's activations, told without converting it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.fx import GraphModule

from mobilekit.jobs import diff as differ
from mobilekit.jobs.export import recipe_of
from mobilekit.models.build import build_reference, check_inputs, effective_options
from mobilekit.models.user import resolve
from mobilekit.parity.ranges.lint import RangeLint, lint
from mobilekit.recipes.inputs.calibration import read_calibration
from mobilekit.recipes.inputs.preprocess import Arrays
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.rewrites.engine import rewrite
from mobilekit.store.bundle import open_bundle

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Ranges:
    """Warnings, and what they are about."""

    model: str
    recipe: str
    weights: str
    lint: RangeLint


def ranges_of_model(
    model: str,
    recipe: LoadedRecipe | None = None,
    weights: Path | None = None,
    calibration: Path | None = None,
    progress: Progress = lambda _message: None,
) -> Ranges:
    """Record a model's activations as its export would, and return the warnings.

    Args:
        model: A registered name, `timm:NAME`, or `FILE.py:FACTORY`.
        recipe: The model's own without.
        weights: A checkpoint.
        calibration: Pictures or .npz; the recipe's built-in data without.
        progress: Is told what goes on.

    Raises:
        UsageError: There is no such model, or something does not fit.
    """
    entry, loaded = resolve(model), recipe or recipe_of(model)
    spec = loaded.recipe
    check_inputs(entry, spec.model_options, spec.shapes)
    progress("reading calibration inputs")
    arrays = read_calibration(loaded.recipe, calibration).arrays
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    options = effective_options(entry, spec.model_options, spec.input.size)
    reference = build_reference(entry, options, weights, tensors)
    progress("rewriting")
    graph = rewrite(reference.model, loaded, tensors, prove=False).graph
    return _lint(entry.name, loaded, reference.weights_source, graph, arrays, progress)


def ranges_of_bundle(
    path: Path,
    calibration: Path | None = None,
    reference: str | None = None,
    progress: Progress = lambda _message: None,
) -> Ranges:
    """Record the activations of a bundle's rewritten model anew, and return the warnings.

    Args:
        path: The bundle.
        calibration: Pictures or .npz; the built-in data of the bundle's recipe without.
        reference: `FILE.py:FACTORY`, for a bundle that was exported from one.
        progress: Is told what goes on.

    Raises:
        UsageError: It is no bundle, or its model or recipe is unknown here.
    """
    bundle = open_bundle(path)
    loaded = differ.recipe_of(bundle)
    progress("reading calibration inputs")
    arrays = read_calibration(loaded.recipe, calibration).arrays
    _model, rewritten = differ.models_of(bundle, loaded, reference)
    spec = bundle.manifest["model"]
    return _lint(spec["name"], loaded, spec["weights"]["source"], rewritten.graph, arrays, progress)


def _lint(
    name: str, loaded: LoadedRecipe, weights: str, graph: GraphModule, arrays: Arrays, progress: Progress
) -> Ranges:
    progress("recording activations")
    found, _recording = lint(graph, arrays, loaded.recipe)
    return Ranges(name, loaded.name, weights, found)
