"""The models of a bundle: its recipe, its reference and its rewritten model, with the weights that it holds."""

from __future__ import annotations

from pydantic import ValidationError
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.models.build import load_state
from mobilekit.models.names import LIVE, file_spec
from mobilekit.models.normalization import normalize_inside
from mobilekit.models.output_activation import activate_outputs
from mobilekit.models.user import live_entry, resolve
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.engine import Rewritten, rewrite
from mobilekit.rewrites.pixels import pixels_of
from mobilekit.store.bundle import Bundle
from mobilekit.store.manifest import Given
from mobilekit.store.stages import Stage


def models_of_bundle(
    bundle: Bundle, loaded: LoadedRecipe, reference: str | nn.Module | None = None, keep_exact: bool = False
) -> tuple[nn.Module, Rewritten]:
    """Return a bundle's reference model and its rewritten one, both with the weights in the bundle.

    Args:
        bundle: The bundle.
        loaded: Its recipe.
        reference: Names the model anew, or is it.
        keep_exact: Keep a copy of the rewritten one whose weights are not yet rounded.

    Raises:
        UsageError: The bundle's model is unknown here, or is code that `reference` does not name.
    """
    model = reference_of_bundle(bundle, loaded.recipe, reference)
    rewritten = rewrite(model, loaded, prove=False, keep_exact=keep_exact)
    try:
        load_state(rewritten.graph, bundle.path / Stage.REWRITTEN.file)
    except RuntimeError as error:
        raise UsageError(
            f"{bundle.path / Stage.REWRITTEN.file} does not hold the weights of what this version's rewrites make.",
            "It was changed since the export, or another version wrote it: export the model again.",
        ) from error
    return model, rewritten


def reference_of_bundle(bundle: Bundle, recipe: Recipe, name: str | nn.Module | None) -> nn.Module:
    """Build a bundle's reference model, and fill it with the weights in the bundle.

    Args:
        bundle: The bundle.
        recipe: Its recipe.
        name: Names the model anew, or is it, as `diff` has it.

    Raises:
        UsageError: The model is code that was not named, or is another one.
    """
    spec = bundle.manifest["model"]
    entry = live_entry(name) if isinstance(name, nn.Module) else resolve(name_in_bundle(bundle, name))
    try:
        model = entry.create(**spec["options"])
        load_state(model, bundle.path / Stage.REFERENCE.file)
    except (RuntimeError, TypeError, ValueError) as error:  # other weights, or options that it does not take
        raise UsageError(
            f"{entry.name} is not the model that {bundle.path} was exported from.",
            "Name that one with --reference, or export the model again.",
        ) from error
    normalize_inside(model, pixels_of(recipe))
    return activate_outputs(model, recipe.output.activation)


def name_in_bundle(bundle: Bundle, name: str | None) -> str:
    """Return what to build a bundle's model by: `name`, or else the name in its manifest.

    Raises:
        UsageError: That is code, which opening a folder must not run.
    """
    written = str(bundle.manifest["model"]["name"])
    if name is None and written.startswith(LIVE):
        raise UsageError(
            f"{bundle.path} was exported from {written} of Python code, which a bundle does not hold.",
            "Give it again: mobilekit.diff(bundle, reference=MODULE), or --reference FILE.py:FUNCTION that returns it.",
        )
    if name is None and file_spec(written):
        raise UsageError(
            f"{bundle.path} was exported from the code {written}, which is not run unless you name it.",
            f"Add --reference {written}",
        )
    return name or written


_KEYS = {"size": ("size",), "color": ("color",), "normalization": ("mean", "std"), "crop": ("crop",)}
"""Keys of `input` by what a manifest's `given` calls them."""


def recipe_of_bundle(bundle: Bundle) -> LoadedRecipe:
    """Return the recipe in a bundle's manifest.

    Raises:
        UsageError: This version of mobilekit does not understand it.
    """
    written = bundle.manifest.get("recipe", {})
    try:
        given = [Given.from_json(each) for each in bundle.manifest.get("given", ())]
        set_by = {key: each.origin for each in given for key in _KEYS.get(each.what, ())}
        return LoadedRecipe(str(written.get("name")), Recipe.model_validate(written.get("content")), set_by=set_by)
    except ValidationError as error:
        version = bundle.manifest.get("tools", {}).get("mobilekit", "another version")
        raise UsageError(
            f"{bundle.path} was exported by mobilekit {version}, whose recipe this version does not understand.",
            "Export the model again.",
        ) from error
