"""A YAML document that a user wrote: its content with lines, and what is wrong with each part of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mobilekit.errors import UsageError, first_line, nearest
from mobilekit.recipes import yaml_positions

Where = Callable[[yaml_positions.Path], str]
"""Gives `file:line` of a part."""
_Kind = TypeVar("_Kind", bound=BaseModel)


def load_checked(path: Path, kind: type[_Kind], whole: str, *, hint: str, example: str) -> tuple[_Kind, Where]:
    """Read a YAML file, and hold it to its schema.

    Args:
        path: The file.
        kind: What it has to be.
        whole: What it is called, such as `the sweep`.
        hint: What to do where it is wrong.
        example: What to do where it is not there.

    Raises:
        UsageError: There is none, or it is wrong; the message has a line for each fault, with file and line.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path}.", example)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read {path}: {error}.", "It is to be a YAML file in UTF-8.") from error
    data, lines = read_document(text, str(path))
    if data is None:
        raise UsageError(f"{path}:1: {whole} is empty.", hint)

    def where(place: yaml_positions.Path) -> str:
        return f"{path}:{yaml_positions.line_of(lines, place)}"

    try:
        return kind.model_validate(data), where
    except ValidationError as error:
        raise UsageError("\n".join(faults_of(error, where, kind, whole=whole)), hint) from error


def read_document(text: str, source: str) -> tuple[Any, dict[yaml_positions.Path, int]]:
    """Return what stands in a YAML text, and the line of each part.

    Args:
        text: YAML.
        source: Where the text is from, for messages.

    Raises:
        UsageError: It is no YAML.
    """
    try:
        return yaml_positions.load_with_lines(text)
    except yaml_positions.DuplicateKeyError as error:
        raise UsageError(f"{source}:{error.line}: {error}.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else text.count("\n", 0, getattr(error, "position", 0)) + 1
        problem = getattr(error, "problem", None) or first_line(error)
        raise UsageError(f"{source}:{line}: not valid YAML: {problem}.") from error


def faults_of(
    error: ValidationError,
    where: Where,
    root: type[BaseModel],
    prefix: yaml_positions.Path = (),
    whole: str = "the recipe",
) -> list[str]:
    """Return what is wrong with each part of a document, with file, line and nearest key.

    Args:
        error: What pydantic found.
        where: Gives `file:line` of a part.
        root: What the document was held to.
        prefix: Where in the document that was.
        whole: What the document is called.
    """
    messages, problems = [], error.errors()
    places = [problem["loc"] for problem in problems]
    for problem in problems:
        if any(len(place) > len(problem["loc"]) and place[: len(problem["loc"])] == problem["loc"] for place in places):
            continue  # what is inside it is told
        path = problem["loc"]
        place = where((*prefix, *path))
        name = ".".join(str(word) for word in (*prefix, *path) if word != "[key]") or whole
        if problem["type"] == "extra_forbidden":
            text = f"{place}: unknown key {path[-1]}. {nearest(str(path[-1]), _keys_at(root, path[:-1]))}"
        else:
            text = f"{place}: {name}: {_what_to_write(problem, root)}."
        messages.append(text)
    return messages


def _what_to_write(problem: ErrorDetails, root: type[BaseModel]) -> str:
    """Return what is wrong with a value, in the words of a recipe."""
    given, path = problem["input"], problem["loc"]
    is_plain = not isinstance(given, dict | list)
    if problem["type"] == "tuple_type" and (keys := _keys_at(root, (*path, 0))):
        return f"write it as a list of entries, each with some of the keys {', '.join(keys)}"
    if problem["type"] == "tuple_type":
        return f"write it as a list{f': [{given}]' if is_plain and given is not None else ', such as [a, b]'}"
    if problem["type"] == "string_type" and is_plain and given is not None:
        return "write it in quotes, as it is a text"
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
