"""A recipe with some of its parts set anew, as the options of a command say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from mobilekit.errors import UsageError
from mobilekit.models.shapes import resized
from mobilekit.recipes.gates import AccuracyGate, TargetGate
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.recipes.picture import Input
from mobilekit.recipes.schema import Recipe
from mobilekit.store.manifest import OPTION
from mobilekit.store.stages import FORM_STAGES, check_forms

Size = int | tuple[int, int]
PLAIN = "plain"
"""Of the words of --resize: without antialiasing."""


def adjust(
    loaded: LoadedRecipe,
    input_size: Size | None = None,
    num_classes: int | None = None,
    precision: Sequence[str] | None = None,
    rewrites: bool = True,
    picture: Mapping[str, Any] | None = None,
    labels: Sequence[str] | None = None,
    max_top1_drop: float | None = None,
    targets: Sequence[str] | None = None,
) -> LoadedRecipe:
    """Return a recipe with some of its parts set anew; None leaves a part as it is.

    Args:
        loaded: The recipe.
        input_size: Height and width in pixels, one number for both or (height, width).
        num_classes: Number of classes of the model.
        precision: Of float32, float16, dynamic, int8, int16x8, onnx-int8, onnx-int16x8.
        rewrites: Whether the recipe's rewrites stay.
        picture: Other keys of the recipe's `input`, such as `crop` and `mean`.
        labels: Names of the model's classes, in the order of its outputs.
        max_top1_drop: The share of inputs by which files may be right less often than the reference.
        targets: Those that must run every file that they read whole; gates that the recipe has of one stay.

    Raises:
        UsageError: A value is wrong.
    """
    recipe = loaded.recipe
    changes: dict[str, Any] = {}
    chosen = {key: value for key, value in (picture or {}).items() if value is not None}
    set_by = {**loaded.set_by, **dict.fromkeys(chosen, OPTION)}
    if input_size is not None:
        changes = _resize(recipe, input_size)
        recipe = recipe.model_copy(update=changes)
        set_by["size"] = OPTION
    if chosen or recipe.input.frame:  # whether a frame can be scaled, its size and that of the input say together
        changes["input"] = _picture(recipe.input, chosen)
        recipe = recipe.model_copy(update=changes)
    if num_classes is not None:
        if num_classes < 1:
            raise UsageError(f"The number of classes is {num_classes}, not positive.")
        changes["model_options"] = {**recipe.model_options, "num_classes": num_classes}
        if loaded.is_default and len(recipe.labels) != num_classes:
            changes["labels"] = ()  # those of the weights that the model's library has
    if precision is not None:
        check_forms(precision)
        changes["precision"] = tuple(name for name in FORM_STAGES if name in precision)
    if labels is not None:
        changes["labels"] = tuple(labels)
    if max_top1_drop is not None:
        if not 0 <= max_top1_drop <= 1:
            raise UsageError(f"The drop of top-1 is {max_top1_drop:g}, not a share of 0 to 1.", "1 % is 0.01.")
        held = recipe.gates.accuracy.precision if recipe.gates.accuracy else ()
        accuracy = AccuracyGate(max_top1_drop=max_top1_drop, precision=held)
        recipe = recipe.model_copy(update={"gates": recipe.gates.model_copy(update={"accuracy": accuracy})})
        changes["gates"] = recipe.gates
    if targets is not None:
        asked = {word: TargetGate(whole=True) for word in targets} | (recipe.gates.targets or {})
        changes["gates"] = recipe.gates.model_copy(update={"targets": asked})
    if not rewrites:
        changes["rewrites"] = ()
    return replace(loaded, recipe=recipe.model_copy(update=changes), set_by=set_by)


def _picture(spec: Input, chosen: Mapping[str, Any]) -> Input:
    """Return how a picture becomes the input, with keys set anew; one value of mean or std stands for all channels."""
    content = {**spec.model_dump(), **chosen}
    if "resize" in chosen:
        content["resize"] = {**spec.resize.model_dump(), **_resize_of(chosen["resize"])}
    channels = {"gray": 1, "rgba": 4}.get(content["color"], 3)
    for key in ("mean", "std"):
        if len(content[key]) == 1:
            content[key] = (*content[key],) * channels
    try:
        checked = Input.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        place = f"{_option(problem['loc'][0])}: " if problem["loc"] else ""
        told = problem["msg"].removeprefix("Value error, ")
        options = " or ".join(map(_option, problem["loc"][:1] or chosen or ["input-size"]))
        raise UsageError(f"{place}{told}.", f"Change {options}, or `input` of the recipe.") from error
    # What neither the recipe nor an option says stays unsaid: `given` of a manifest calls it assumed.
    changed = {key: value for key, value in checked if value != getattr(spec, key)}
    return spec.model_copy(update=changed)


def _resize_of(words: Sequence[str]) -> dict[str, str | bool]:
    """Return what words say of a recipe's `resize`: each is a mode, `plain` for no antialiasing, or else a filter."""
    said: dict[str, str | bool] = {"antialias": False} if PLAIN in words else {}
    named = (word for word in words if word != PLAIN)
    return said | {"mode" if word in ("crop", "stretch", "pad") else "filter": word for word in named}


def _option(key: object) -> str:
    """Return the option of the command line for a key of `input`."""
    return {"dtype": "--input-dtype", "frame": "--input-from"}.get(str(key), f"--{key}")


def _resize(recipe: Recipe, size: Size) -> dict[str, Any]:
    """Return the recipe's inputs with pictures of another size; extra inputs of the picture's size follow it.

    Raises:
        UsageError: It is no size.
    """
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or not all(8 <= side <= 4096 for side in sides):
        raise UsageError(
            f"The input size is {'x'.join(map(str, dict.fromkeys(sides)))}, not between 8 and 4096.",
            "It is one number, or HEIGHTxWIDTH.",
        )
    picture = recipe.input.model_copy(update={"size": sides[0] if sides[0] == sides[1] else sides})
    shapes = resized(recipe.network_shapes, picture.network_shape)
    extras = {
        name: extra.model_copy(update={"shape": shapes[name]}) if extra.shape else extra
        for name, extra in recipe.extra_inputs.items()
    }
    return {"input": picture, "extra_inputs": extras}
