"""The inputs that stages are measured on."""

from __future__ import annotations

from pathlib import Path

from mobilekit.recipes.inputs.builtin import Evaluation, evaluation_inputs
from mobilekit.recipes.inputs.preprocess import open_picture
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
        str(path),
        own.arrays,
        own.labels,
        own.classes,
        is_own=True,
        notes=own.notes,
        label_names=own.label_names,
        pictures=(lambda: ((_name(file, path), open_picture(file)) for file in own.files)) if own.files else None,
    )


def _name(file: Path, path: Path) -> str:
    """Return a picture's path in its folder, or beside its CSV."""
    folder = path if path.is_dir() else path.parent
    return str(file.relative_to(folder) if file.is_relative_to(folder) else file)
