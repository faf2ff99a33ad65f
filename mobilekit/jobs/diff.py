"""Measure a bundle's stages against each other and the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from mobilekit.artifacts.on_device import OnDevice
from mobilekit.jobs.bundle_models import models_of_bundle, recipe_of_bundle
from mobilekit.jobs.given import assumed
from mobilekit.jobs.measure import measure_folder
from mobilekit.parity.ledger.apps import check_pictures
from mobilekit.parity.ledger.result import Ledger
from mobilekit.recipes.inputs.evaluation import read_evaluation
from mobilekit.store.bundle import Bundle
from mobilekit.store.manifest import CalibrationSource, Given, was_own

Progress = Callable[[str], None]


def diff(
    bundle: Bundle,
    inputs: Path | None = None,
    progress: Progress = lambda _message: None,
    reference: str | nn.Module | None = None,
    device: OnDevice | None = None,
    apps: Sequence[str] = (),
) -> Ledger:
    """Measure every stage of a bundle anew.

    Args:
        bundle: The bundle; its reference is the one it was exported from.
        inputs: A folder of pictures, or an .npz with preprocessed arrays by the names of the inputs (`input`: float32,
            N x C x H x W) and perhaps `labels`; without, the recipe's built-in evaluation data.
        progress: Is told what goes on.
        reference: Names the model anew, or is it. A bundle of `FILE.py:FACTORY` needs it: opening a folder must not run
            code that only the folder names; and one of a module of Python code, which it does not hold.
        device: Runs the TFLite files as well; each has a stage there then.
        apps: Ways in which apps make the inputs, as `recipes.inputs.apps` names them: each has a row then.

    Raises:
        UsageError: The inputs cannot be used, or are no pictures where apps are named; or the bundle's model or recipe
            is unknown here.
        ToolError: An artifact cannot be run.
    """
    loaded = recipe_of_bundle(bundle)
    recipe = loaded.recipe
    evaluation = read_evaluation(recipe, inputs)
    if apps:
        check_pictures(evaluation)
    progress("rebuilding the model")
    model, rewritten = models_of_bundle(bundle, loaded, reference)
    is_trained = bundle.manifest["model"]["weights"].get("trained", True)
    ledger = measure_folder(
        bundle.path,
        recipe,
        model,
        rewritten,
        evaluation,
        progress,
        is_trained,
        device,
        failed=bundle.failed_stages,
        apps=apps,
    )
    written = bundle.manifest["calibration"]
    calibration = replace(CalibrationSource.from_json(written), is_own=was_own(written))
    return replace(
        ledger,
        assumed=_assumed(bundle, inputs),
        calibration=calibration if recipe.is_calibrated else None,
    )


def _assumed(bundle: Bundle, inputs: Path | None) -> tuple[str, ...]:
    """Return what an export had to assume, but for the inputs where these are given now."""
    given = (Given.from_json(each) for each in bundle.manifest.get("given", ()))
    return assumed(each for each in given if inputs is None or each.what != "evaluation")
