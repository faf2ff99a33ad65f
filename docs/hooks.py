"""Pages that are made when the site is built: from the code, and from Markdown that lies outside of this folder.

MkDocs calls the functions `on_...` (https://www.mkdocs.org/dev-guide/plugins/#events).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

from benchmarks.tables import markdown
from mobilekit import __all__ as api
from mobilekit.cli.app import COMMANDS, application
from mobilekit.cli.schema import TYPES, schema_of
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.catalogue import REWRITES
from mobilekit.sweep.schema import Sweep

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "findings/README.md": "findings.md",
}
"""Pages of the site by the documents that they show."""

Schema = dict[str, Any]


def on_config(config: MkDocsConfig) -> None:
    """Put a page for each command into the navigation, behind the table of them."""
    (section,) = (entry["Commands"] for entry in config.nav if "Commands" in entry)
    section.extend({name: f"commands/{name}.md"} for name in COMMANDS)


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages and files that do not lie in this folder."""
    for path, content in generated():
        files.append(File.generated(config, path, content=content))


def on_page_markdown(text: str, *, config: MkDocsConfig, **_: Any) -> str:
    """Let links to documents of other folders lead to their pages, and name pages by their titles, not their files."""
    for document, path in ELSEWHERE.items():
        text = text.replace(f"](../{document})", f"]({path})")
    names = titles(config.nav)
    return re.sub(r"\[(?:docs/)?([\w-]+\.md)\](?=\()", lambda found: f"[{names.get(found[1], found[1])}]", text)


def titles(entries: list[Any]) -> dict[str, str]:
    """Return the titles of the navigation by their pages."""
    found = {}
    for entry in entries:
        for title, value in entry.items():
            found |= titles(value) if isinstance(value, list) else {value: title}
    return found


def generated() -> Iterator[tuple[str, str]]:
    """Yield path and text of each."""
    for document, path in ELSEWHERE.items():
        yield path, moved((ROOT / document).read_text())
    for script in (ROOT / "findings").glob("*.sh"):
        yield f"findings/{script.name}", script.read_text()
    yield from command_pages()
    yield "reference/recipe.md", schema_page("Keys of a recipe", Recipe.model_json_schema())
    yield "reference/sweep.md", schema_page("Keys of a sweep", Sweep.model_json_schema())
    yield "reference/rewrites.md", rewrites_page()
    yield "reference/python.md", python_page()
    yield "reference/json.md", json_page()
    for name in TYPES:
        schema = schema_of(name)
        yield f"reference/schemas/{name}.json", json.dumps(schema, indent=2)
        yield f"reference/json/{name}.md", schema_page(name, schema)


def moved(text: str) -> str:
    """Return a document of another folder with links as they are in the site."""
    for document, path in ELSEWHERE.items():
        text = text.replace(f"]({document})", f"]({path})")
    text = re.sub(r"^\| `([\w.-]+\.sh)` \|", r"| [`\1`](findings/\1) |", text, flags=re.MULTILINE)
    return text.replace("](docs/", "](")


def command_pages() -> Iterator[tuple[str, str]]:
    """Yield a page for each command, by Typer's own generator of documents."""
    group: Any = typer.main.get_command(application())
    context = typer.Context(group, info_name="mobilekit")
    for name in COMMANDS:
        command = group.get_command(context, name)
        yield f"commands/{name}.md", get_docs_for_click(obj=command, ctx=context, call_prefix="mobilekit")


def rewrites_page() -> str:
    """Return what each rewrite does and when, with its options."""
    parts = ["# All rewrites"]
    for name, kind in REWRITES.items():
        about = (kind.__doc__ or "").replace("\n    ", "\n")
        parts += [f"## {name}", f"`{kind.exactness.value}`: {kind.summary}.", about]
        if kind.options_type.model_fields:
            parts += tables(kind.options_type.model_json_schema(), level=3)
    return "\n\n".join(parts)


def python_page() -> str:
    """Return the reference of the Python API, which mkdocstrings fills in from the docstrings."""
    return "\n\n".join(["# Python functions", *(f"::: mobilekit.api.{name}" for name in api)])


def json_page() -> str:
    """Return the list of JSON documents."""
    rows = ([f"[{name}](json/{name}.md)", f"[{name}.json](schemas/{name}.json)"] for name in TYPES)
    about = "What commands print with `--json`, and the files of a bundle; `mobilekit schema NAME` prints these."
    return "\n\n".join(["# JSON documents", about, markdown(["document", "JSON Schema"], rows)])


def schema_page(title: str, schema: Schema) -> str:
    """Return a JSON Schema as Markdown."""
    return "\n\n".join([f"# {title}", schema.get("description", ""), *tables(schema, level=2)])


def tables(schema: Schema, level: int) -> Iterator[str]:
    """Yield the table of a schema's own keys, and those of its parts under headings."""
    kinds = {"": schema, **schema.get("$defs", {})}
    for name, kind in kinds.items():
        if name:
            yield f"{'#' * level} {name}"
            yield kind.get("description", "")
        if rows := [row_of(key, value) for key, value in kind.get("properties", {}).items()]:
            yield markdown(["key", "type", "default", "meaning"], rows)
        else:
            yield kind_of(kind)


def row_of(key: str, value: Schema) -> list[str]:
    """Return the cells of a key."""
    default = f"`{json.dumps(value['default'])}`" if "default" in value else ""
    return [f"`{key}`", kind_of(value), default, " ".join(value.get("description", "").split())]


def kind_of(value: Schema) -> str:
    """Return the type of a value in words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if choices := value.get("anyOf", value.get("oneOf")):
        return " or ".join(map(kind_of, choices))
    if "enum" in value or "const" in value:
        return ", ".join(f"`{each}`" for each in value.get("enum", [value.get("const")]))
    if value.get("type") == "array":
        return f"list of {kind_of(value['items'])}" if "items" in value else "list"
    if value.get("type") == "object" and isinstance(value.get("additionalProperties"), dict):
        return f"{kind_of(value['additionalProperties'])} by name"
    return str(value.get("type", "anything"))
