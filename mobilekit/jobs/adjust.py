"""A recipe with some of its parts set anew, as the options of a command say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mobilekit.errors import UsageError
from mobilekit.models.inputs import resized
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.recipes.schema import Recipe
from mobilekit.store.stages import PRECISIONS, check_precisions


def adjust(
    loaded: LoadedRecipe,
    input_size: int | None = None,
    num_classes: int | None = None,
    precision: Sequence[str] | None = None,
    rewrites: bool = True,
) -> LoadedRecipe:
    """Return a recipe with some of its parts set anew; None leaves a part as it is.

    Raises:
        UsageError: A value is wrong.
    """
    recipe = loaded.recipe
    changes: dict[str, Any] = {}
    if input_size is not None:
        if not 8 <= input_size <= 4096:
            raise UsageError(f"The input size is {input_size}, not between 8 and 4096.")
        changes |= _resize(recipe, input_size)
    if num_classes is not None:
        if num_classes < 1:
            raise UsageError(f"The number of classes is {num_classes}, not positive.")
        changes["model_options"] = {**recipe.model_options, "num_classes": num_classes}
    if precision is not None:
        check_precisions(precision)
        changes["precision"] = tuple(name for name in PRECISIONS if name in precision)
    if not rewrites:
        changes["rewrites"] = ()
    return replace(loaded, recipe=recipe.model_copy(update=changes))


def _resize(recipe: Recipe, size: int) -> dict[str, Any]:
    """Return the recipe's inputs with pictures of another size; extra inputs of the picture's size follow it."""
    picture = recipe.input.model_copy(update={"size": size})
    shapes = resized(recipe.shapes, picture.shape)
    extras = {
        name: extra.model_copy(update={"shape": shapes[name]}) if extra.shape else extra
        for name, extra in recipe.extra_inputs.items()
    }
    return {"input": picture, "extra_inputs": extras}
