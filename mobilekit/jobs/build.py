"""The one way from a model's name, a recipe, weights and calibration inputs to a model that is built and rewritten.

Every command and the Python API go this way, so that all speak of the same model, also on the user's own data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mobilekit.jobs.declared_outputs import check_outputs
from mobilekit.jobs.source import Source
from mobilekit.models.build import (
    Reference,
    build_reference,
    effective_options,
    fetch_pretrained,
    pretrained_file,
    probe_model,
)
from mobilekit.models.imported_files import imported_files
from mobilekit.models.inputs import zeros
from mobilekit.models.names import file_spec
from mobilekit.models.normalization import normalize_inside, normalized
from mobilekit.models.output_activation import activate_outputs
from mobilekit.models.registry import ModelEntry
from mobilekit.models.weights import weights_digest
from mobilekit.recipes.inputs.calibration import Calibration, read_calibration
from mobilekit.recipes.inputs.evaluation import read_evaluation
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.catalogue import steps_of
from mobilekit.rewrites.engine import Rewritten, rewrite
from mobilekit.rewrites.fx.graph import trace
from mobilekit.rewrites.pixels import pixels_of
from mobilekit.store.files import sha256_of, sha256_of_json

Progress = Callable[[str], None]


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

    @property
    def identity(self) -> dict[str, Any]:
        """What decides what the model is beside its name: weights and settings that code gave it, files, a graph."""
        code = file_spec(self.source.model)
        imported = imported_files(code[0]) if code else ()
        return {
            "weights": weights_digest(self.model) if code and self.source.weights is None else None,
            "settings": _settings(self.model) if code else None,
            "files": [sha256_of(file) for file in (*self.files, *imported)],
            "graph": self._digest_of_graph() if self.source.module is not None else None,
        }

    def _digest_of_graph(self) -> str:
        """Return the digest of what a module of Python code computes: its graph, and all tensors in it."""
        graph = trace(self.model, zeros(self.source.recipe.recipe.network_shapes))
        return sha256_of_json([graph.code, weights_digest(graph)])

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


def _settings(model: nn.Module) -> dict[str, dict[str, str]]:
    """Return the numbers, texts and the like that code has put into a model's modules, from wherever it has them."""
    return {
        path: {name: repr(value) for name, value in sorted(vars(module).items()) if _is_plain(value)}
        for path, module in model.named_modules()
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


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
