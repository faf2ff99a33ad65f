"""The inputs that stages are measured on."""

from __future__ import annotations

from pathlib import Path

from mobilekit.recipes.inputs.builtin import Evaluation, evaluation_inputs
from mobilekit.recipes.inputs.user_data import load_own
from mobilekit.recipes.schema import Recipe


def read_evaluation(recipe: Recipe, path: Path | None) -> Evaluation:
    """Return the recipe's built-in evaluation inputs, or the user's: pictures in folders or in a CSV, or an .npz file.

    Raises:
        UsageError: The file is no .npz, an input is missing or does not fit, or labels do not belong to the inputs.
    """
    if path is None:
        return evaluation_inputs(recipe)
    own = load_own(path, recipe)
    return Evaluation(
        str(path), own.arrays, own.labels, own.classes, is_own=True, notes=own.notes, label_names=own.label_names
    )
