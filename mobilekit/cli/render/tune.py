"""What `mobilekit tune` found, on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mobilekit.jobs.tune.result import Tuned
from mobilekit.jobs.tune.search import Figure, Trial


def tune_report(tuned: Tuned) -> Group:
    """Return what `mobilekit tune` shows: a line a form, and what was chosen."""
    request, outcome = tuned.request, tuned.outcome
    parts: list[RenderableType] = []
    if tuned.benches:
        device, engine = tuned.benches[0].device, tuned.benches[0].engine
        where = f"{device.model} ({device.abi}) with {engine.name}"
        took = f"the recipe {request.source.recipe.name} takes {outcome.base.median_ms:.3g} ms"
        parts.append(Text(f"{request.source.model}, {request.precision}, on {where}; {took}."))
        parts.append(_table(outcome.trials))
    parts += [Text(f"left out: {name}: {why}") for name, why in tuned.refused.items()]
    again = [(name, each) for name, each in outcome.final.items() if each.ratio is not None]
    parts += [Text(f"again: {name}: {_interval(each)}, {each.verdict}") for name, each in again]
    chosen = ", ".join(tuned.chosen) or "the recipe as it was"
    return Group(*parts, Text(f"Chosen: {chosen}; {outcome.why}. Its ledger passes.", style="bold"))


def _table(trials: Sequence[Trial]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("group", "form", "ms", "of the recipe's", "verdict"):
        table.add_column(column, no_wrap=column != "verdict")
    for trial in trials:
        figure = trial.figure
        if figure.ratio is None:
            cells = ["-", "-", figure.why_not or "not measured"]
        else:
            cells = [f"{figure.median_ms:.3g}", _interval(figure), figure.verdict or ""]
        table.add_row(*map(Text, (trial.group, trial.form.name, *cells)), style="bold" if trial.chosen else None)
    return table


def _interval(figure: Figure) -> str:
    return f"{figure.ratio:.3f} ({figure.low:.3f} to {figure.high:.3f})"
