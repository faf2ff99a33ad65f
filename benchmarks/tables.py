"""Tables of the documents that are made from the code: between `<!-- benchmarks/SCRIPT.py -->` and `<!-- end -->`.

`.venv/bin/python -m benchmarks.tables` writes them all anew; the tests say when one is stale.
"""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

from mobilekit.store.versions import installed_version

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
_END = "<!-- end -->"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as Markdown."""
    body = ["|---" * len(head) + "|", *(f"| {' | '.join(cells)} |" for cells in rows)]
    return "\n".join([f"| {' | '.join(head)} |", *body])


def with_table(text: str, script: str, table: str) -> str:
    """Return a document with the table between the marks of a script."""
    begin = f"<!-- benchmarks/{script}.py -->"
    before, rest = text.split(begin)
    _old, after = rest.split(_END, 1)
    return f"{before}{begin}\n{table}\n{_END}{after}"


def write(path: Path, script: str, table: str) -> None:
    """Write a table into a document."""
    path.write_text(with_table(path.read_text(), script, table))


def ran_on(tools: Iterable[str]) -> str:
    """Return when and on what figures were measured, with the versions of those distributions that are installed."""
    versions = ", ".join(f"{tool} {version}" for tool in tools if (version := installed_version(tool)))
    machine = f"{platform.machine()} ({os.cpu_count()} cores)"
    return f"{datetime.date.today()}, {machine}, Python {platform.python_version()}, {versions}."


def main() -> None:
    """Write all tables that need no measuring."""
    from benchmarks import commands_table, models_table, rewrites_table, sweep_table

    for script in (commands_table, models_table, rewrites_table, sweep_table):
        script.main()


if __name__ == "__main__":
    main()
