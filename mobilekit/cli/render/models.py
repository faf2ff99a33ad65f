"""The reference models on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from mobilekit.models.analysis.stages import KINDS, StageRow
from mobilekit.models.analysis.summary import ModelSummary


def models_table(models: Sequence[ModelSummary]) -> Table:
    """Return a line a model: parameters and multiply-accumulates, published beside measured."""
    table = Table(box=None)
    table.add_column("model", no_wrap=True)
    for column in ("input", "params", "MACs", "published", "off by", "top-1 %", "phone ms"):
        table.add_column(column, justify="right", no_wrap=True)
    for each in models:
        published, off_by = each.published, each.deviation.macs
        table.add_row(
            each.name,
            "x".join(map(str, each.input)),
            f"{each.params:,}",
            f"{each.macs / 1e6:.1f}M",
            f"{published.macs / 1e6:.0f}M" if published.macs else "-",
            "-" if off_by is None else f"{100 * off_by:+.2f} %",
            str(published.top1 or "-"),
            str(published.phone_latency_ms or "-"),
        )
    return table


def model_report(model: ModelSummary) -> Group:
    """Return one model: its line, its sources, its options and its stages."""
    published = model.published
    parts: list[RenderableType] = [models_table([model]), f"\n{model.paper}"]
    parts += [f"published: {published.source}"] if published.source else []
    parts += [f"phone: {published.phone}"] if published.phone else []
    return Group(*parts, f"options: {', '.join(model.options)}\n", _stages(model.stages or ()))


def _stages(stages: Sequence[StageRow]) -> Table:
    """Return a row for each stage, and a column for each kind of operation that occurs."""
    kinds = [kind for kind in KINDS if any(kind in stage.kinds for stage in stages)]
    table = Table(box=None)
    table.add_column("stage", no_wrap=True)
    for column in ("output", "params", "MACs", *kinds):
        table.add_column(column, justify="right", no_wrap=True)
    for stage in stages:
        macs = [stage.macs, *(stage.kinds.get(kind, 0) for kind in kinds)]
        shape = "x".join(map(str, stage.shape))
        table.add_row(stage.name, shape or "-", f"{stage.params:,}", *map(_millions, macs))
    return table


def _millions(macs: int) -> str:
    if macs < 10_000:
        return f"{macs:,}" if macs else "-"
    return f"{macs / 1e6:.2f}M"
