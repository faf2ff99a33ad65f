"""What a model is made of, as it is asked for: its name, a recipe, weights and inputs. Nothing is built for that.

Torch is not imported: whether a reference model was exported already can be said without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilekit.models.names import NO_WEIGHTS, PRETRAINED, library_of
from mobilekit.recipes.load import DEFAULT, LoadedRecipe, load_recipe, recipe_for
from mobilekit.recipes.picture import Input

if TYPE_CHECKING:
    from torch import nn

    from mobilekit.models.registry import ModelEntry


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
        from mobilekit.models.user import live_entry, resolve

        return live_entry(self.module) if self.module is not None else resolve(self.model, self.weights == PRETRAINED)


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
    from mobilekit.models.build import pretrained_file
    from mobilekit.models.user import resolve

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
