"""The inputs that int8 is calibrated on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mobilekit.recipes.inputs.builtin import calibration_inputs
from mobilekit.recipes.inputs.preprocess import Arrays, digest_of
from mobilekit.recipes.inputs.user_data import load_own
from mobilekit.recipes.schema import Recipe


@dataclass(frozen=True)
class Calibration:
    """The inputs to calibrate on, float32 (N, ...) by name, and the SHA-256 of their bytes."""

    arrays: Arrays
    digest: str
    notes: tuple[str, ...] = ()
    """What is doubtful about them."""


def read_calibration(recipe: Recipe, path: Path | None) -> Calibration:
    """Return the recipe's built-in calibration inputs, or the user's in a folder of pictures or an .npz.

    Raises:
        UsageError: They cannot be read, or do not fit.
    """
    if path is None:
        arrays = calibration_inputs(recipe)
        return Calibration(arrays, digest_of(arrays))
    own = load_own(path, recipe, recipe.calibration.count)
    return Calibration(own.arrays, digest_of(own.arrays), own.notes)
