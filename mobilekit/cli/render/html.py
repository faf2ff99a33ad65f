"""A bundle as one page of HTML: nothing is loaded from elsewhere, so that it can be sent and archived."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from mobilekit.cli.render.layers import decibels, is_quantised, summary
from mobilekit.cli.render.layers import figure as error_figure
from mobilekit.cli.render.layers_chart import layers_svg
from mobilekit.cli.render.terminal import limit_words, misses, step_line

_TEMPLATE = "bundle.html.j2"


def bundle_html(
    name: str, manifest: dict[str, Any], ledger: dict[str, Any], sizes: dict[str, int], changes: list[str]
) -> str:
    """Return a bundle as HTML: what it is, how far each stage is off, what the rewrites did, and what is in it.

    Args:
        name: The bundle's.
        manifest: As in the bundle.
        ledger: As `Ledger.to_json` gives it, with the values inside under `layers` where they were measured.
        sizes: Bytes of each file by its name.
        changes: What differs from the manifest.
    """
    layers = ledger.get("layers")
    environment = Environment(
        loader=PackageLoader("mobilekit.cli.render", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"error": error_figure, "step_line": _step_line, "misses": misses, "limit": limit_words}
    return environment.get_template(_TEMPLATE).render(
        name=name,
        manifest=manifest,
        ledger=ledger,
        pairs=_pairs(ledger),
        sizes=sizes,
        changes=changes,
        layers=layers,
        chart=layers_svg(layers, name) if layers else "",
        findings=summary(layers) if layers else [],
        is_quantised=is_quantised,
        decibels=decibels,
    )


def _step_line(step: dict[str, Any]) -> str:
    return step_line(step, len(step["applied"]))


def _pairs(ledger: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return each stage and output against the reference, and against the stage before."""
    totals = {(row["stage"], row["output"]): row for row in ledger["stages"] if row["against"] == "reference"}
    steps = {(row["stage"], row["output"]): row for row in ledger["stages"]}  # the stage before comes second
    return [(row, steps[place]) for place, row in totals.items()]
