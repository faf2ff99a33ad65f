"""The columns of a sweep's rows as a table of docs/sweeps.md."""

from __future__ import annotations

from benchmarks.tables import DOCS, markdown, write
from mobilekit.sweep.rows import COLUMNS


def table() -> str:
    """Return a line for each column."""
    rows = [(f"`{each.name}`", ", ".join(filter(None, [each.type, each.unit])), each.meaning) for each in COLUMNS]
    return markdown(("column", "type, unit", "what it is"), rows)


def main() -> None:
    """Write the table."""
    write(DOCS / "sweeps.md", "sweep_table", table())


if __name__ == "__main__":
    main()
