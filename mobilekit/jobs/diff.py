"""Measure a bundle's stages against each other and the reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mobilekit.jobs.bundle_models import models_of_bundle, recipe_of_bundle
from mobilekit.jobs.measure import OpenOnDevice, measure_folder
from mobilekit.parity.ledger.result import Ledger
from mobilekit.recipes.inputs.builtin import Evaluation, evaluation_inputs
from mobilekit.recipes.inputs.user_data import load_own
from mobilekit.recipes.schema import Recipe
from mobilekit.store.bundle import Bundle

Progress = Callable[[str], None]


def diff(
    bundle: Bundle,
    inputs: Path | None = None,
    progress: Progress = lambda _message: None,
    reference: str | None = None,
    device: OpenOnDevice | None = None,
) -> Ledger:
    """Measure every stage of a bundle anew.

    Args:
        bundle: The bundle; its reference is the one it was exported from.
        inputs: A folder of pictures, or an .npz with preprocessed arrays by the names of the inputs (`input`: float32,
            N x C x H x W) and perhaps `labels`; without, the recipe's built-in evaluation data.
        progress: Is told what goes on.
        reference: Names the model anew. A bundle of `FILE.py:FACTORY` needs it: opening a folder must not run code
            that only the folder names.
        device: Opens a TFLite file on a device, given the layouts of its outputs; each file has a stage there then.

    Raises:
        UsageError: The inputs cannot be used, or the bundle's model or recipe is unknown here.
        ToolError: An artifact cannot be run.
    """
    loaded = recipe_of_bundle(bundle)
    recipe = loaded.recipe
    evaluation = load_evaluation(inputs, recipe) if inputs else evaluation_inputs(recipe)
    progress("rebuilding the model")
    model, rewritten = models_of_bundle(bundle, loaded, reference)
    is_trained = bundle.manifest["model"]["weights"].get("trained", True)
    return measure_folder(
        bundle.path,
        recipe,
        model,
        rewritten.graph,
        evaluation,
        rewritten.steps,
        progress,
        is_trained,
        device,
        failed=bundle.failed_stages,
    )


def load_evaluation(path: Path, recipe: Recipe) -> Evaluation:
    """Read the user's own inputs: pictures in folders or in a CSV, or an .npz file.

    Raises:
        UsageError: The file is no .npz, an input is missing or does not fit, or labels do not belong to the inputs.
    """
    own = load_own(path, recipe)
    return Evaluation(str(path), own.arrays, own.labels, own.classes, is_own=True)
