"""What a bundle was calibrated on, given again, and the bundle as a source to work on."""

from __future__ import annotations

from pathlib import Path

from mobilekit.errors import UsageError
from mobilekit.jobs.bundle_models import name_in_bundle, recipe_of_bundle
from mobilekit.jobs.source import Source
from mobilekit.recipes.inputs.calibration import Calibration, read_calibration
from mobilekit.recipes.schema import Recipe
from mobilekit.store.bundle import Bundle, open_bundle
from mobilekit.store.manifest import was_own
from mobilekit.store.stages import Stage


def calibration_of_bundle(bundle: Bundle, recipe: Recipe, path: Path | None) -> tuple[Calibration, str]:
    """Return inputs to judge a bundle on, and a sentence where they are not what it was calibrated on.

    Args:
        bundle: The bundle.
        recipe: Its recipe.
        path: Folder of pictures, or .npz; without, the recipe's built-in data.

    Raises:
        UsageError: The bundle was calibrated on inputs of the user's, and these are others.
    """
    written = bundle.manifest["calibration"]
    found = read_calibration(recipe, path)
    if not was_own(written) or found.digest == written["sha256"]:
        return found, ""
    if path is not None:
        raise UsageError(
            f"{path} is not what {bundle.path} was calibrated on: {written['count']} inputs of {written['source']}.",
            "Give those, or leave --calibration out to judge on built-in ones.",
        )
    return found, (
        f"Judged on built-in {recipe.data}: {bundle.path} was calibrated on {written['count']} inputs of yours "
        f"({written['source']}), which it does not hold. Give them with --calibration."
    )


def source_of_bundle(
    path: Path, calibration: Path | None = None, inputs: Path | None = None, reference: str | None = None
) -> tuple[Source, str]:
    """Return a bundle as a source: its model, recipe and weights; and a sentence as `calibration_of_bundle` does.

    Args:
        path: The bundle.
        calibration: What it was calibrated on, where that was the user's.
        inputs: What to measure on; the recipe's built-in evaluation data without.
        reference: `FILE.py:FACTORY`, for a bundle that was exported from one.

    Raises:
        UsageError: It is no bundle, its model or recipe is unknown here, or the calibration is another one.
    """
    bundle = open_bundle(path)
    name, loaded = name_in_bundle(bundle, reference), recipe_of_bundle(bundle)
    note = calibration_of_bundle(bundle, loaded.recipe, calibration)[1]
    is_trained = bool(bundle.manifest["model"]["weights"].get("trained", True))
    weights = bundle.path / Stage.REFERENCE.file
    return Source(name, loaded, weights, calibration, inputs, is_trained), note
