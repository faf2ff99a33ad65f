"""`mobilekit rewrites`: what rewrites there are."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from mobilekit.cli.output import out, print_json

app = typer.Typer(help="Rewrites of a model, each with a stated exactness.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `list` a command of its own."""


@app.command("list")
def list_rewrites(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the rewrites that a recipe can name, with their exactness and options.

    Example: `mobilekit rewrites list`
    """
    from mobilekit.rewrites.catalogue import REWRITES

    entries = [
        {
            "name": rewrite.name,
            "exactness": rewrite.exactness.value,
            "summary": rewrite.summary,
            "options": rewrite.options_type.model_json_schema().get("properties", {}),
        }
        for rewrite in REWRITES.values()
    ]
    if as_json:
        print_json(entries)
        return
    table = Table(box=None)
    for column in ("rewrite", "exactness", "options", "what it does"):
        table.add_column(column, no_wrap=column != "what it does")
    for entry in entries:
        table.add_row(entry["name"], entry["exactness"], ", ".join(entry["options"]) or "-", entry["summary"])
    out.print(table)
