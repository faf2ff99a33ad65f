"""What `mobilekit tune` found, on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mobilekit.cli.render.format import instructions
from mobilekit.jobs.tune.recipe_text import ratio_words
from mobilekit.jobs.tune.result import Tuned
from mobilekit.jobs.tune.search import Trial


def tune_report(tuned: Tuned) -> Group:
    """Return what `mobilekit tune` shows: a line a form, and what was chosen."""
    request, outcome = tuned.request, tuned.outcome
    parts: list[RenderableType] = []
    if tuned.counts:
        count = tuned.counts[0]
        where = f"counted on {count.core.model} with LiteRT {count.litert}, qemu {count.qemu}"
        has = f"the recipe {request.source.recipe.name} has {instructions(outcome.base.instructions or 0)} instructions"
        parts += [Text(f"{request.source.model}, {request.precision}, {where}; {has}."), _table(outcome.trials)]
    elif tuned.benches:
        device, engine = tuned.benches[0].device, tuned.benches[0].engine
        where = f"{device.model} ({device.abi}) with {engine.name}"
        took = f"the recipe {request.source.recipe.name} takes {outcome.base.median_ms:.3g} ms"
        parts.append(Text(f"{request.source.model}, {request.precision}, on {where}; {took}."))
        parts.append(_table(outcome.trials))
    parts += [Text(f"left out: {name}: {why}") for name, why in tuned.refused.items()]
    again = [(name, each) for name, each in outcome.final.items() if each.ratio is not None]
    parts += [Text(f"again: {name}: {ratio_words(each)}, {each.verdict}") for name, each in again]
    chosen = ", ".join(tuned.chosen) or "the recipe as it was"
    return Group(*parts, Text(f"Chosen: {chosen}; {outcome.why}. Its ledger passes.", style="bold"))


def _table(trials: Sequence[Trial]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    unit = "ms" if any(trial.figure.median_ms for trial in trials) else "instructions"
    for column in ("group", "form", unit, "of the recipe's", "verdict"):
        table.add_column(column, no_wrap=column != "verdict")
    for trial in trials:
        figure = trial.figure
        if figure.ratio is None:
            cells = ["-", "-", figure.why_not or "not measured"]
        else:
            shown = instructions(figure.instructions) if figure.instructions else f"{figure.median_ms:.3g}"
            cells = [shown, ratio_words(figure), figure.verdict or ""]
        table.add_row(*map(Text, (trial.group, trial.form.name, *cells)), style="bold" if trial.chosen else None)
    return table
