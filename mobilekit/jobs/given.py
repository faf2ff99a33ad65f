"""What decides what an export means, and where each part is from: an option, a recipe, timm's config, or nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mobilekit.jobs.source import Source
from mobilekit.models.names import NO_WEIGHTS, PRETRAINED, has_own_weights, is_registered
from mobilekit.recipes.inputs.builtin import DIGITS_TEST_COUNT, EVALUATION_COUNT
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.recipes.picture import Input
from mobilekit.recipes.schema import Recipe
from mobilekit.store.manifest import ASSUMED, NOT_USED, OPTION, Given

if TYPE_CHECKING:
    from mobilekit.models.registry import ModelEntry

TellGiven = Callable[[tuple[Given, ...]], None]


def given_of(source: Source) -> tuple[Given, ...]:
    """Return what an export of this source is given. Of a reference model nothing is assumed: its recipe is its own."""
    return (*given_but_weights(source), _by_recipe(source, _of_weights(source)))


def given_but_weights(source: Source) -> tuple[Given, ...]:
    """Return what `given_of` does, but for the weights: the model is not looked up for it."""
    loaded = source.recipe
    recipe, spec = loaded.recipe, loaded.recipe.input
    figures = {name: " ".join(f"{value:g}" for value in getattr(spec, name)) for name in ("mean", "std")}
    inside = ", inside the files" if spec.takes_levels else ""
    inside += ", which take bytes" if spec.takes_bytes else ""
    others = "".join(f", and {name}" for name in recipe.extra_inputs)
    arrays = spec.channels is not None or all(
        path is not None and path.suffix == ".npz" for path in (source.calibration, source.inputs)
    )
    found = (
        Given(
            "size",
            f"{spec.size_words}{_frame(recipe)}{others}",
            loaded.origin_of("size"),
            "--input-size, --input-from" if spec.frame else "--input-size",
        ),
        _of_color(loaded, arrays),
        _of_picture(
            "normalization",
            f"0 to 1, mean {figures['mean']}, std {figures['std']}{inside}",
            loaded,
            arrays,
            "mean",
            "std",
        ),
        _of_picture("crop", _crop(spec), loaded, arrays, "crop"),
        _of_data("calibration", source.calibration, recipe.calibration.count, loaded, "--calibration"),
        _of_data("evaluation", source.inputs, _evaluation_count(loaded), loaded, "--inputs"),
    )
    return tuple(_by_recipe(source, each) for each in found)


def _frame(recipe: Recipe) -> str:
    """Return what files make the network's picture of, and what that costs; nothing where they are given it."""
    if not recipe.input.frame_parts:
        return ""
    from mobilekit.rewrites.pixels import pixels_of

    frame = pixels_of(recipe).frame
    if frame is None:
        return ""
    million = recipe.input.channel_count * frame.multiplications / 1e6
    how = f"scaled inside the files by {million:.1f} million multiplications" if million else "cropped inside the files"
    return f" of a frame of {frame.rows.length}x{frame.columns.length}, {how}"


def _crop(spec: Input) -> str:
    """Return which part of a picture is taken, and how it is resized."""
    share = "" if spec.crop == 1 else f" of {spec.crop:g} of height and width"
    ways = {
        "crop": f"{spec.crop:g} of height and width",
        "stretch": f"none, stretched{share}",
        "pad": f"none, padded{share}",
    }
    return f"{ways[spec.resize.mode]}, {spec.resize.words}"


def _of_color(loaded: LoadedRecipe, arrays: bool) -> Given:
    spec = loaded.recipe.input
    if spec.channels is not None:
        return Given("color", f"none, {spec.channels} channels", loaded.origin_of("channels"), "--channels")
    return _of_picture("color", spec.color, loaded, arrays, "color")


def assumed(given: Iterable[Given]) -> tuple[str, ...]:
    """Return the names of what nobody said."""
    return tuple(each.what for each in given if each.is_assumed)


def _by_recipe(source: Source, given: Given) -> Given:
    """Return what a reference model is given; what nobody said is what its recipe means."""
    is_its_own = given.is_assumed and is_registered(source.model)
    return replace(given, origin=f"recipe {source.recipe.name}") if is_its_own else given


def _of_picture(what: str, value: str, loaded: LoadedRecipe, arrays: bool, *keys: str) -> Given:
    """Return how a picture becomes the input; arrays are taken as they are."""
    origins = [loaded.origin_of(key) for key in keys]
    origin = ASSUMED if ASSUMED in origins else origins[0]
    return Given(what, value, NOT_USED if arrays else origin, ", ".join(f"--{key}" for key in keys))


def _of_data(what: str, path: Path | None, count: int, loaded: LoadedRecipe, option: str) -> Given:
    """Return what int8 is calibrated on, or what stages are measured on."""
    recipe = loaded.recipe
    if path is not None:
        return Given(what, path.resolve().name, OPTION, option)
    said = not loaded.is_default and "data" in recipe.model_fields_set
    origin = f"recipe {loaded.name}" if said else ASSUMED
    if what == "calibration" and not recipe.is_calibrated:
        return Given(what, "none for int8, which is not made", NOT_USED, option)
    return Given(what, f"{count} built-in {recipe.data}", origin, option)


def _evaluation_count(loaded: LoadedRecipe) -> int:
    return DIGITS_TEST_COUNT if loaded.recipe.data == "digits" else EVALUATION_COUNT


def _of_weights(source: Source) -> Given:
    from mobilekit.models.build import SEED

    drawn = f"drawn anew (seed {SEED})"
    if source.weights is not None and source.weights != PRETRAINED:
        is_none = source.weights == NO_WEIGHTS
        return Given("weights", drawn if is_none else source.weights.name, OPTION, "--weights")
    if source.module is not None:
        return Given("weights", "the module's own", "the model's code", "--weights")
    if has_own_weights(source.model):
        return Given("weights", f"those that {source.model} gives it", "the model's code", "--weights")
    entry = source.entry()
    if entry.weights:
        return Given("weights", entry.weights, "mobilekit", "--weights")
    return _of_library(entry, source, drawn)


def _of_library(entry: ModelEntry, source: Source, drawn: str) -> Given:
    """Return whether a library's trained weights are taken: on the word of `--pretrained`, or as they are there."""
    from mobilekit.models.build import pretrained_file

    there = entry.pretrained
    file = pretrained_file(entry, source.recipe.recipe.model_options, source.weights)
    if there is None:
        return Given("weights", drawn, ASSUMED, "--weights")
    if source.weights == PRETRAINED:
        return Given("weights", there.name, OPTION, "--pretrained")
    if file:
        return Given("weights", f"{there.name}: {file.name}", "on this disk", "--weights")
    return Given("weights", f"{drawn}, not {there.name}", ASSUMED, "--pretrained, --weights")
