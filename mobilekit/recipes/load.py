"""Find, read and check recipes."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mobilekit.errors import OldWordWarning, UsageError, first_line, nearest
from mobilekit.recipes import yaml_positions
from mobilekit.recipes.builtin import builtin_recipes, recipe_models
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
            faults += _faults(error, place, (), Recipe)
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
    try:
        data, lines = yaml_positions.load_with_lines(text)
    except yaml_positions.DuplicateKeyError as error:
        raise UsageError(f"{source}:{error.line}: {error}.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else text.count("\n", 0, getattr(error, "position", 0)) + 1
        problem = getattr(error, "problem", None) or first_line(error)
        raise UsageError(f"{source}:{line}: not valid YAML: {problem}.") from error
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
    faults = _faults(error, loaded, prefix, root)
    hint = "`mobilekit recipes schema` prints what a recipe may say."
    if len(faults) > _SHOWN:
        hint = f"`mobilekit recipes check` names all {len(faults)} faults."
    return UsageError("\n".join(faults[:_SHOWN]), hint)


def _faults(
    error: ValidationError, loaded: LoadedRecipe, prefix: yaml_positions.Path, root: type[BaseModel]
) -> list[str]:
    """Return what is wrong with each part, with file, line and nearest key."""
    messages, problems = [], error.errors()
    places = [problem["loc"] for problem in problems]
    for problem in problems:
        if any(len(place) > len(problem["loc"]) and place[: len(problem["loc"])] == problem["loc"] for place in places):
            continue  # what is inside it is told
        path = problem["loc"]
        place = loaded.where((*prefix, *path))
        name = ".".join(str(word) for word in (*prefix, *path) if word != "[key]") or "the recipe"
        if problem["type"] == "extra_forbidden":
            text = f"{place}: unknown key {path[-1]}. {nearest(str(path[-1]), _keys_at(root, path[:-1]))}"
        else:
            text = f"{place}: {name}: {_what_to_write(problem)}."
        messages.append(text)
    return messages


def _what_to_write(problem: ErrorDetails) -> str:
    """Return what is wrong with a value, in the words of a recipe."""
    given, path = problem["input"], problem["loc"]
    is_plain = not isinstance(given, dict | list)
    if problem["type"] == "tuple_type":
        return f"it is a list: [{given}]" if is_plain and given is not None else "it is a list, such as [a, b]"
    if problem["type"] == "too_short" and not given:
        return "it names nothing; leave the key out, or name one at least"
    if problem["type"] == "model_type" and path[:-1] == ("rewrites",) and isinstance(given, str):
        return f"write `- name: {given}`"
    said = "it takes keys, each with a value" if problem["type"] in ("model_type", "dict_type") else problem["msg"]
    said = said.removeprefix("Value error, ")
    return f"{said}{f', not {given!r}' if is_plain else ''}"


def _keys_at(root: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """Return the keys that the schema of `root` allows at `path`."""
    schema: dict[str, Any] = root.model_json_schema()
    node = schema
    for word in path:
        node = _resolve(schema, node)
        if isinstance(word, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(word) or node.get("additionalProperties") or {}
    return list(_resolve(schema, node).get("properties", {}))


def _resolve(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    forms = node.get("anyOf", ())  # of what may be left out
    node = next((each for each in forms if "$ref" in each or "additionalProperties" in each), node)
    reference = node.get("$ref")
    return schema["$defs"][reference.rsplit("/", 1)[-1]] if reference else node
