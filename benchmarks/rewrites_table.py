"""Write the tables of rewrites into docs/recipes.md and docs/rewrites.md, from the rewrites themselves.

.venv/bin/python -m benchmarks.rewrites_table
"""

from __future__ import annotations

from typing import Any

from benchmarks.tables import DOCS, markdown, write
from mobilekit.rewrites.base import Exactness, Rewrite
from mobilekit.rewrites.catalogue import REWRITES


def experimental_table() -> str:
    """Return the table of the experimental ones as Markdown."""
    rows = ([f"`{name}`", kind.experimental] for name, kind in REWRITES.items() if kind.experimental)
    return markdown(["rewrite", "what it showed, and where it is right"], rows)


def full_table() -> str:
    """Return the table of all, sorted by exactness, as Markdown."""
    order = list(Exactness)
    kinds = sorted(REWRITES.values(), key=lambda kind: order.index(kind.exactness))
    rows = ([f"`{kind.name}`", kind.exactness.value, kind.summary, _options(kind)] for kind in kinds)
    return markdown(["name", "exactness", "what it does", "options"], rows)


def _options(kind: type[Rewrite[Any]]) -> str:
    names = kind.options_type.model_json_schema().get("properties", {})
    return ", ".join(f"`{name}`" for name in names)


def main() -> None:
    """Write both tables."""
    write(DOCS / "rewrites.md", "rewrites_table", experimental_table())
    write(DOCS / "recipes.md", "rewrites_table", full_table())


if __name__ == "__main__":
    main()
