"""What `mobilekit recover` gained, on the terminal."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mobilekit.jobs.recover.result import Recovered


def recover_report(found: Recovered) -> Group:
    """Return what `mobilekit recover` shows: each output's distance from the reference, before and after."""
    what = [f"{name} ({sites} sites)" for name, sites in found.rewrites.items()] + ["int8"] * found.int8
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("output", "", "relative L2", "cosine", "same first class"):
        table.add_column(column, no_wrap=True)
    for before, after in zip(found.before, found.after, strict=True):
        for word, one in (("before", before), ("after", after)):
            cells = (one.output, word, f"{one.relative_l2:.3g}", f"{one.cosine:.4f}", f"{one.top1_agreement:.1%}")
            table.add_row(*map(Text, cells))
    text = f"{found.model} with {', '.join(what)}: {found.training.steps} steps on {found.trained_on} pictures."
    return Group(Text(text), table, Text(f"Measured on {found.kept_back} pictures that were kept back."))
