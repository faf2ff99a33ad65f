"""All that is wrong with a recipe: its keys and values, its rewrites, models and their options, and what gates name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mobilekit.errors import UsageError
from mobilekit.jobs.target_gates import faults_of
from mobilekit.models.build import effective_options
from mobilekit.models.registry import find_model
from mobilekit.recipes.load import LoadedRecipe, parse_in_part, read_recipe
from mobilekit.rewrites.catalogue import step_of


def check_recipe(name: str) -> LoadedRecipe:
    """Return a recipe, by its name or file, of which all was tried: each of its models was built with its options.

    Raises:
        UsageError: It is wrong; the message has a line for each fault, with file and line.
    """
    loaded, faults = parse_in_part(*read_recipe(name))
    faults += [*_of_rewrites(loaded), *_of_models(loaded), *_of_gates(loaded)]
    if faults:
        raise UsageError(
            "\n".join(sorted(faults, key=_number)), "`mobilekit recipes schema` prints what a recipe may say."
        )
    return loaded


def _of_rewrites(loaded: LoadedRecipe) -> Iterator[str]:
    for index in range(len(loaded.recipe.rewrites)):
        try:
            step_of(loaded, index)
        except UsageError as error:
            yield _line(error, "" if loaded.source in error.what else f"{loaded.where(('rewrites', index))}: ")


def _of_models(loaded: LoadedRecipe) -> Iterator[str]:
    """Yield what is wrong with the models that the recipe names, and once what is wrong with its model options."""
    recipe, told = loaded.recipe, set[str]()
    for index, model in enumerate(recipe.models):
        try:
            entry = find_model(model)
        except UsageError as error:
            yield _line(error, f"{loaded.where(('models', index))}: ")
            continue
        try:
            entry.create(**effective_options(entry, recipe.model_options, recipe.input.size))
        except UsageError as error:
            what = error.what.removeprefix(model)
            if what not in told:
                yield _line(error, f"{loaded.where(('model_options',))}: ")
            told.add(what)


def _of_gates(loaded: LoadedRecipe) -> Iterator[str]:
    """Yield what is wrong with the targets of gates, and which gates are on files that the recipe does not make."""
    yield from (_line(error, "") for error in faults_of(loaded))
    for path, precision in loaded.recipe.gates.places.items():
        if precision not in loaded.recipe.precision:
            yield f"{loaded.where(('gates', *path))}: a gate on {precision}, which `precision` does not make."


def _number(fault: str) -> int:
    """Return the line in the recipe that a fault names first."""
    found = re.search(r":(\d+): ", fault)
    return int(found[1]) if found else 0


def _line(error: UsageError, place: str) -> str:
    hint = error.hint if error.hint.startswith(("Did you mean", "Known:")) else ""
    return f"{place}{error.what} {hint}".rstrip()
