"""The one way from a model's name, a recipe, weights and calibration inputs to a model that is built and rewritten.

Every command and the Python API go this way, so that all speak of the same model, also on the user's own data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mobilekit.jobs.declared_outputs import check_outputs
from mobilekit.models.build import (
    Reference,
    build_reference,
    effective_options,
    fetch_pretrained,
    pretrained_file,
    probe_model,
)
from mobilekit.models.names import NO_WEIGHTS, PRETRAINED, library_of
from mobilekit.models.normalization import normalize_inside, normalized
from mobilekit.models.output_activation import activate_outputs
from mobilekit.models.registry import ModelEntry
from mobilekit.models.user import live_entry, resolve
from mobilekit.recipes.inputs.calibration import Calibration, read_calibration
from mobilekit.recipes.inputs.evaluation import read_evaluation
from mobilekit.recipes.load import DEFAULT, LoadedRecipe, load_recipe, recipe_for
from mobilekit.recipes.picture import Input
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.catalogue import steps_of
from mobilekit.rewrites.engine import Rewritten, rewrite
from mobilekit.rewrites.pixels import pixels_of

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Source:
    """All that decides what a model is."""

    model: str
    """A registered name, a library's model (`timm:NAME`), or `FILE.py:FACTORY`, whose code runs."""
    recipe: LoadedRecipe
    weights: Path | None = None
    """A checkpoint; without one, the weights that come with the model, that its library has on the disk or that its
    factory gives it, or seeded random ones; `models.names.NO_WEIGHTS` for seeded random ones in any case, `PRETRAINED`
    for its library's in any case."""
    calibration: Path | None = None
    """Folder of images, or .npz; without one, the recipe's built-in data."""
    inputs: Path | None = None
    """What an export is measured on, likewise; without, the recipe's built-in evaluation data."""
    is_trained: bool | None = None
    """Whether the weights mean something, where that is known, as of a bundle's."""
    module: nn.Module | None = field(default=None, repr=False, compare=False)
    """The model itself, where Python code gave one; `model` is its `live_name` then."""

    def entry(self) -> ModelEntry:
        """Return the model.

        Raises:
            ToolError: Its library is missing.
            UsageError: There is none of this name.
        """
        return live_entry(self.module) if self.module is not None else resolve(self.model, self.weights == PRETRAINED)


@dataclass(frozen=True)
class Opened:
    """A model that was built and tried, before its weights and the calibration inputs are read."""

    source: Source
    entry: ModelEntry
    options: dict[str, Any]
    """Those that it was built with."""
    model: nn.Module
    """With the weights that it was made with."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of its library that decide what it is: a config, and trained weights that it is filled with."""
        weights = pretrained_file(self.entry, self.options, self.source.weights)
        return tuple(file for file in (self.entry.config, weights) if file)

    def fill(self, progress: Progress = lambda _message: None) -> Built:
        """Read the calibration inputs, and fill the model with its weights.

        Raises:
            UsageError: The inputs or the checkpoint do not fit.
        """
        source = self.source
        progress("reading calibration inputs")
        calibration = read_calibration(source.recipe.recipe, source.calibration)
        pixels = pixels_of(source.recipe.recipe)
        seen = normalized(as_tensors(calibration), pixels)
        reference = build_reference(self.entry, self.options, source.weights, seen, self.model)
        check_outputs(reference.model, source.recipe.recipe.output, seen)
        normalize_inside(reference.model, pixels)
        activate_outputs(reference.model, source.recipe.recipe.output.activation)
        if source.is_trained is not None:
            reference = replace(reference, is_trained=source.is_trained)
        return Built(source, self.entry, self.options, reference, calibration)


@dataclass(frozen=True)
class Built:
    """A reference model with its weights, and what it is calibrated on."""

    source: Source
    entry: ModelEntry
    options: dict[str, Any]
    reference: Reference
    calibration: Calibration

    @cached_property
    def tensors(self) -> dict[str, torch.Tensor]:
        """The calibration inputs, float32 (N, ...) by name."""
        return as_tensors(self.calibration)

    def rewritten(
        self, recipe: LoadedRecipe | None = None, prove: bool = True, progress: Progress = lambda _message: None
    ) -> Rewritten:
        """Apply the rewrites of the source's recipe, or of another one for the same model.

        Raises:
            GateError: A rewrite's proof failed, or it drifts further than allowed.
            UsageError: The rewrites cannot be used.
        """
        return rewrite(self.reference.model, recipe or self.source.recipe, self.tensors, prove, progress)


def open_source(source: Source) -> Opened:
    """Build a model, and try it: what cannot be used is refused before the work.

    Raises:
        UsageError: There is no such model, a rewrite does not exist, or the model cannot take the recipe's inputs.
    """
    entry, recipe = source.entry(), source.recipe.recipe
    steps_of(source.recipe)
    model = probe_model(entry, recipe.model_options, recipe.network_shapes)
    opened = Opened(source, entry, effective_options(entry, recipe.model_options, recipe.input.size), model)
    pretrained_file(entry, opened.options, source.weights)  # to refuse what has none
    fetch_pretrained(entry, source.weights)
    return opened


def build(source: Source, progress: Progress = lambda _message: None) -> Built:
    """Build a model, try it, and fill it with its weights.

    Raises:
        UsageError: As `open_source` and `Opened.fill` raise.
    """
    return open_source(source).fill(progress)


def as_tensors(calibration: Calibration) -> dict[str, torch.Tensor]:
    """Return calibration inputs as tensors, float32 (N, ...) by name."""
    return {name: torch.from_numpy(array) for name, array in calibration.arrays.items()}


def evaluation_tensors(recipe: Recipe, path: Path) -> dict[str, torch.Tensor]:
    """Return the user's own inputs to measure on, float32 (N, ...) by name.

    Raises:
        UsageError: They cannot be read, or do not fit.
    """
    return {name: torch.from_numpy(array) for name, array in read_evaluation(recipe, path).inputs.items()}


def choose_recipe(
    model: str, recipe: str | Path | LoadedRecipe | None, weights: Path | None = NO_WEIGHTS
) -> LoadedRecipe:
    """Return the recipe that is given, itself or by its name or file; the model's own without.

    Args:
        model: As a `Source` has it.
        recipe: The recipe.
        weights: As a `Source` has them: a library's weights bring the names of their classes.

    Raises:
        UsageError: There is no such recipe or model, or the recipe is wrong.
    """
    if recipe is None:
        return recipe_of_model(model, weights)
    return recipe if isinstance(recipe, LoadedRecipe) else load_recipe(str(recipe))


def recipe_of_model(model: str, weights: Path | None = NO_WEIGHTS) -> LoadedRecipe:
    """Return the recipe that a model uses where none is named; a library's models bring their own preprocessing.

    With weights that a library has for the model, it has the names of their classes.
    """
    loaded = recipe_for(model)
    if loaded.name != DEFAULT or library_of(model) is None:
        return loaded
    entry = resolve(model, weights == PRETRAINED)
    changes: dict[str, Any] = {}
    own, set_by = entry.preprocessing, {}
    if own:
        changes["input"] = Input.model_validate({**loaded.recipe.input.model_dump(), **own})
        pictured = ("color",) if "mean" in own else ()
        set_by = dict.fromkeys([*own, *pictured], entry.preprocessing_from)
    if entry.pretrained and (weights == PRETRAINED or pretrained_file(entry, {}, weights)):
        changes["labels"] = entry.pretrained.labels
    return replace(loaded, recipe=loaded.recipe.model_copy(update=changes), set_by=set_by)
