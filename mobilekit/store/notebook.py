"""What a notebook shows of results: a line, and a table in Markdown."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown; what stands in it is text, and no markup."""
    lines = [head, ["---"] * len(head), *([_plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ledger_line(ledger: Mapping[str, Any]) -> str:
    """Return the verdict of a ledger's JSON and how many stages it has, in words."""
    stages = len({row["stage"] for row in ledger["stages"]})
    assumed = ", on assumed inputs" if ledger.get("assumed") and ledger["verdict"] == "pass" else ""
    return f"{ledger['verdict']}{assumed}, {stages} stage{'' if stages == 1 else 's'}"


def ledger_table(ledger: Mapping[str, Any]) -> str:
    """Return a line for each stage of a ledger's JSON and each output, against the reference."""
    rows = [
        (
            row["stage"],
            row["output"],
            _figure(row["max_abs"], ".1e"),
            _figure(row["relative_l2"], ".1e"),
            _figure(row["cosine"], ".6f"),
            row["verdict"],
        )
        for row in ledger["stages"]
        if row["against"] == "reference"
    ]
    rows += [(failed["stage"], "", "", "", "", "fail") for failed in ledger.get("failed_stages", ())]
    rows += [(each["stage"], "", "", "", "", "not run here") for each in ledger.get("not_run", ())]
    return markdown_table(("stage", "output", "max abs", "relative L2", "cosine", "verdict"), rows)


def _plain(cell: str) -> str:
    return html.escape(str(cell)).replace("|", "&#124;").replace("\n", " ")


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
