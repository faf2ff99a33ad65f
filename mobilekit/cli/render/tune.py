"""What `mobilekit tune` found, on the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

Content = dict[str, Any]


def tune_report(content: Content) -> Group:
    """Return what `mobilekit tune` shows, of its JSON."""
    lines: list[Any] = []
    if content["device"]:
        base = content["base"]
        device, engine = content["device"], content["engine"]
        where = f"{device['model']} ({device['abi']}) with {engine['name']}"
        took = f"the recipe {base['recipe']} takes {base['median_ms']:.3g} ms"
        lines.append(Text(f"{content['model']}, {content['precision']}, on {where}; {took}."))
        lines.append(_table(content["forms"]))
    for name, why in content["refused"].items():
        lines.append(Text(f"left out: {name}: {why}"))
    if content["final"]:
        again = [(name, row) for name, row in content["final"].items() if row["ratio"] is not None]
        lines += [Text(f"again: {name}: {_interval(row)}, {row['verdict']}") for name, row in again]
    chosen = ", ".join(content["chosen"]) or "the recipe as it was"
    return Group(*lines, Text(f"Chosen: {chosen}; {content['why']}. Its ledger passes.", style="bold"))


def _table(forms: list[Content]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("group", "form", "ms", "of the recipe's", "verdict"):
        table.add_column(column, no_wrap=column != "verdict")
    for row in forms:
        if row["ratio"] is None:
            cells = ["-", "-", str(row["why_not"])]
        else:
            cells = [f"{row['median_ms']:.3g}", _interval(row), row["verdict"]]
        style = "bold" if row["chosen"] else None
        table.add_row(row["group"], row["form"], *cells, style=style)
    return table


def _interval(row: Content) -> str:
    return f"{row['ratio']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
