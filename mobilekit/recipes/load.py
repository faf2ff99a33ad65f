"""Find, read and check recipes."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mobilekit.errors import OldWordWarning, UsageError, nearest
from mobilekit.recipes import yaml_positions
from mobilekit.recipes.builtin import builtin_recipes, recipe_models
from mobilekit.recipes.faults import faults_of, read_document
from mobilekit.recipes.old_words import Renamed, with_new_words
from mobilekit.recipes.schema import Recipe
from mobilekit.store.manifest import ASSUMED

DEFAULT = "default"
_SHOWN = 3
"""Faults that an error of another command than `recipes check` names."""
Options = TypeVar("Options", bound=BaseModel)


@dataclass(frozen=True)
class LoadedRecipe:
    """A checked recipe and where its parts stand in its file."""

    name: str
    recipe: Recipe
    source: str = "the default recipe"
    lines: dict[yaml_positions.Path, int] = field(default_factory=dict, repr=False)
    set_by: dict[str, str] = field(default_factory=dict, repr=False)
    """What else set keys of `input`, such as `option` or `timm's config`, by the key."""

    @property
    def is_default(self) -> bool:
        """Whether it is the recipe of all models without one: nobody chose what it says."""
        return self.name == DEFAULT and self.source in ("the default recipe", f"export_recipes/{DEFAULT}.yaml")

    def origin_of(self, key: str) -> str:
        """Return what says a key of `input`, as a manifest's `given` has it."""
        if key in self.set_by:
            return self.set_by[key]
        is_said = not self.is_default and key in self.recipe.input.model_fields_set
        return f"recipe {self.name}" if is_said else ASSUMED

    def where(self, path: yaml_positions.Path) -> str:
        """Return `file:line` of a part, for error messages."""
        return f"{self.source}:{yaml_positions.line_of(self.lines, path)}" if self.lines else self.source


def load_recipe(name: str) -> LoadedRecipe:
    """Read a recipe by its built-in name, or by the path of a YAML file.

    Raises:
        UsageError: There is no such recipe, or it is wrong; the message names file, line and nearest key.
    """
    return parse_recipe(*read_recipe(name))


def read_recipe(name: str) -> tuple[str, str, str]:
    """Return the text of a recipe, its name, and where it is from.

    Raises:
        UsageError: There is none, or the file cannot be read.
    """
    known = builtin_recipes()
    if name in known:
        return known[name], name, f"export_recipes/{name}.yaml"
    path = Path(name)
    if not path.is_file():
        if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
            raise UsageError(f"There is no file {name}.", "`mobilekit recipes` lists those that come with mobilekit.")
        raise UsageError(f"There is no recipe {name}.", f"{nearest(name, known)} Or give the path of a YAML file.")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read {path}: {error}.", "A recipe is a YAML file in UTF-8.") from error
    return text, path.stem, str(path)


def recipe_for(model: str) -> LoadedRecipe:
    """Return the built-in recipe that names `model`, or the default one."""
    return load_recipe(next((name for name, models in recipe_models().items() if model in models), DEFAULT))


def parse_recipe(text: str, name: str, source: str) -> LoadedRecipe:
    """Check the text of a recipe.

    Args:
        text: YAML.
        name: The recipe's name.
        source: Where the text is from, for messages.

    Raises:
        UsageError: It is wrong; the message names `source`, the line and the nearest key.

    Warns:
        OldWordWarning: For each word that has another name now.
    """
    data, lines = _read(text, source)
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        raise _explain(error, LoadedRecipe(name, Recipe(), source, lines), (), Recipe) from error
    return LoadedRecipe(name, recipe, source, lines)


def parse_in_part(text: str, name: str, source: str) -> tuple[LoadedRecipe, list[str]]:
    """Return a recipe without its parts that are wrong, and what is wrong with each.

    A rewrite that is wrong has one that does nothing in its place.

    Raises:
        UsageError: It is no YAML, or nothing.

    Warns:
        OldWordWarning: As `parse_recipe`.
    """
    data, lines = _read(text, source)
    place = LoadedRecipe(name, Recipe(), source, lines)
    faults: list[str] = []
    while True:
        try:
            return LoadedRecipe(name, Recipe.model_validate(data), source, lines), faults
        except ValidationError as error:
            faults += faults_of(error, place.where, Recipe)
            data = _without(data, [problem["loc"] for problem in error.errors()])


def _without(data: Any, places: list[yaml_positions.Path]) -> dict[str, Any]:
    """Return a recipe's content without the parts at these places."""
    kept = copy.deepcopy(data) if isinstance(data, dict) else {}
    for place in places:
        if not place:
            return {}
        if place[0] == "rewrites" and len(place) > 1 and isinstance(place[1], int):
            kept["rewrites"][place[1]] = {"name": "remove-identity"}
        else:
            kept.pop(place[0], None)
    return kept


def _read(text: str, source: str) -> tuple[Any, dict[yaml_positions.Path, int]]:
    """Return what stands in a recipe's text, in today's words, and its lines."""
    data, lines = read_document(text, source)
    if data is None:
        raise UsageError(
            f"{source}:1: the recipe is empty.", "`mobilekit recipes show default` prints one to start from."
        )
    data, renamed = with_new_words(data)
    _tell_of_old_words(renamed, source, lines)
    return data, lines


def _tell_of_old_words(renamed: Renamed, source: str, lines: dict[yaml_positions.Path, int]) -> None:
    """Warn of each old word, and let errors at its new name point to its line."""
    for place, old, new in renamed:
        line = yaml_positions.line_of(lines, place)
        lines.setdefault((*map(str, place[:-1]), new), line)
        text = f"{source}:{line}: `{old}` is called `{new}` now; write that, as the next version takes nothing else."
        warnings.warn(text, OldWordWarning, stacklevel=2)


def check_options(
    kind: type[Options], options: dict[str, Any], loaded: LoadedRecipe, path: yaml_positions.Path
) -> Options:
    """Check the options at `path` in a recipe against a model of their own.

    Raises:
        UsageError: With file, line and nearest key.
    """
    try:
        return kind.model_validate(options)
    except ValidationError as error:
        raise _explain(error, loaded, path, kind) from error


def _explain(
    error: ValidationError, loaded: LoadedRecipe, prefix: yaml_positions.Path, root: type[BaseModel]
) -> UsageError:
    faults = faults_of(error, loaded.where, root, prefix)
    hint = "`mobilekit recipes schema` prints what a recipe may say."
    if len(faults) > _SHOWN:
        hint = f"`mobilekit recipes check` names all {len(faults)} faults."
    return UsageError("\n".join(faults[:_SHOWN]), hint)
