"""`mobilekit models`: what there is, measured beside published."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from mobilekit.cli import complete, options
from mobilekit.cli.output import out, print_json

if TYPE_CHECKING:
    from mobilekit.models.registry import ModelEntry


def models(
    name: Annotated[
        str | None, typer.Argument(help="One model; all of them without.", autocompletion=complete.models)
    ] = None,
    as_json: options.Json = False,
) -> None:
    """List the reference models: parameters and multiply-accumulates, published beside measured.

    Of one model, its stages are listed too, with the kinds of operations that they are made of.

    Examples: `mobilekit models` · `mobilekit models ghostnetv2 --json`
    """
    from mobilekit.models.names import check_registered

    if name:
        check_registered(name)
    from mobilekit.models.registry import find_model, model_names

    entries = [_entry(find_model(name), with_stages=True)] if name else [_entry(find_model(n)) for n in model_names()]
    if as_json:
        print_json(entries)
        return
    _print_models(entries)
    if name:
        out.print(f"\n{entries[0]['paper']}")
        source = entries[0]["published"]["source"]
        if source:
            out.print(f"published: {source}")
        if entries[0]["published"]["phone"]:
            out.print(f"phone: {entries[0]['published']['phone']}")
        out.print(f"options: {', '.join(entries[0]['options'])}\n")
        _print_stages(entries[0]["stages"])


def _print_models(entries: list[dict[str, Any]]) -> None:
    table = Table(box=None)
    table.add_column("model", no_wrap=True)
    for column in ("input", "params", "MACs", "published", "off by", "top-1 %", "phone ms"):
        table.add_column(column, justify="right", no_wrap=True)
    for entry in entries:
        published = entry["published"]
        macs = published["macs"]
        table.add_row(
            entry["name"],
            "x".join(map(str, entry["input"])),
            f"{entry['params']:,}",
            f"{entry['macs'] / 1e6:.1f}M",
            f"{macs / 1e6:.0f}M" if macs else "-",
            f"{100 * entry['deviation']['macs']:+.2f} %" if macs else "-",
            f"{published['top1']}" if published["top1"] else "-",
            f"{published['phone_latency_ms']}" if published["phone_latency_ms"] else "-",
        )
    out.print(table)


def _print_stages(stages: list[dict[str, Any]]) -> None:
    """Print a row for each stage, and a column for each kind of operation that occurs."""
    from mobilekit.models.stages import KINDS

    kinds = [kind for kind in KINDS if any(kind in stage["kinds"] for stage in stages)]
    table = Table(box=None)
    table.add_column("stage", no_wrap=True)
    for column in ("output", "params", "MACs", *kinds):
        table.add_column(column, justify="right", no_wrap=True)
    for stage in stages:
        macs = [stage["macs"], *(stage["kinds"].get(kind, 0) for kind in kinds)]
        shape = "x".join(map(str, stage["shape"]))
        table.add_row(stage["name"], shape or "-", f"{stage['params']:,}", *map(_millions, macs))
    out.print(table)


def _deviation(measured: int, published: int | None) -> float | None:
    """Return by which share of the published figure ours is larger."""
    return measured / published - 1 if published else None


def _millions(macs: int) -> str:
    if macs < 10_000:
        return f"{macs:,}" if macs else "-"
    return f"{macs / 1e6:.2f}M"


def _entry(entry: ModelEntry, with_stages: bool = False) -> dict[str, Any]:
    import torch

    from mobilekit.models.macs import count_macs, count_params
    from mobilekit.models.stages import stage_table

    with torch.device("meta"):
        model = entry.create()
    shape = (entry.in_channels, entry.input_size, entry.input_size)
    params, macs, published = count_params(model), count_macs(model, (1, *shape)), entry.published
    stages = {"stages": [asdict(row) for row in stage_table(model, (1, *shape))]} if with_stages else {}
    return {
        "name": entry.name,
        "params": params,
        "macs": macs,
        "input": list(shape),
        "classes": entry.num_classes,
        "published": asdict(published),
        "deviation": {"params": _deviation(params, published.params), "macs": _deviation(macs, published.macs)},
        "paper": entry.paper,
        "trained_weights": entry.weights is not None,
        "options": entry.option_names(),
        **stages,
    }
