"""A model or a bundle as what a command works on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mobilekit.errors import UsageError
from mobilekit.store.bundle import MANIFEST

if TYPE_CHECKING:
    from mobilekit.jobs.source import Source


def is_bundle(model: str) -> bool:
    """Return whether a model's name is a bundle's folder."""
    return (Path(model) / MANIFEST).is_file()


def check_source(model: str, recipe: str | None, weights: Path | None, reference: str | None) -> None:
    """Check that options belong to the model or to the bundle that is named.

    Raises:
        UsageError: One does not.
    """
    if is_bundle(model) and (recipe or weights):
        raise UsageError(
            f"{model} is a bundle, with a recipe and weights of its own.", "Leave --recipe and --weights out."
        )
    if reference and not is_bundle(model):
        raise UsageError("--reference names the code of a bundle's model.", "Name the code in place of the model.")


def source_of(
    model: str,
    recipe: str | None,
    weights: Path | None,
    calibration: Path | None,
    inputs: Path | None,
    reference: str | None,
) -> tuple[Source, str]:
    """Return what a command works on, and a sentence where a bundle is judged on other inputs than it was made for.

    Raises:
        UsageError: There is no such model or bundle, or an option does not belong to it.
    """
    from mobilekit.jobs.bundle_inputs import source_of_bundle
    from mobilekit.jobs.source import Source, choose_recipe

    check_source(model, recipe, weights, reference)
    if is_bundle(model):
        return source_of_bundle(Path(model), calibration, inputs, reference)
    return Source(model, choose_recipe(model, recipe, weights), weights, calibration, inputs), ""
