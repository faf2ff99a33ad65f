"""Write the table of experimental rewrites into docs/rewrites.md, from the rewrites themselves.

.venv/bin/python benchmarks/rewrites_table.py
"""

from __future__ import annotations

from pathlib import Path

from mobilekit.rewrites.catalogue import REWRITES

PAGE = Path(__file__).parents[1] / "docs" / "rewrites.md"
BEGIN, END = "<!-- benchmarks/rewrites_table.py -->", "<!-- end -->"


def experimental_table() -> str:
    """Return the table as Markdown."""
    rows = [f"| `{name}` | {kind.experimental} |" for name, kind in REWRITES.items() if kind.experimental]
    return "\n".join(["| rewrite | what it showed, and where it is right |", "|---|---|", *rows])


def with_table(text: str) -> str:
    """Return the page with the table between its marks."""
    before, rest = text.split(BEGIN)
    _old, after = rest.split(END, 1)
    return f"{before}{BEGIN}\n{experimental_table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
