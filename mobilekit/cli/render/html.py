"""A bundle as one page of HTML: nothing is loaded from elsewhere, so that it can be sent and archived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from mobilekit.cli.findings import advice_of, by_place, gate_words, texts_of
from mobilekit.cli.render.apps import app_lines
from mobilekit.cli.render.format import NOTHING, figure, limit_words, percent
from mobilekit.cli.render.layers import error, is_rounded, sqnr, summary, worst_channel
from mobilekit.cli.render.layers_chart import layers_svg
from mobilekit.cli.render.steps import step_line
from mobilekit.cli.render.terminal import calibration_lines
from mobilekit.cli.results import DiffResult
from mobilekit.parity.ledger.result import worst

_TEMPLATE = "bundle.html.j2"


def bundle_html(
    name: str, manifest: dict[str, Any], result: DiffResult, sizes: Mapping[str, int], changes: Sequence[str]
) -> str:
    """Return a bundle as HTML: what it is, how far each stage is off, what the rewrites did, and what is in it.

    Args:
        name: The bundle's.
        manifest: As in the bundle.
        result: Its ledger, with the values inside where they were measured.
        sizes: Bytes of each file by its name.
        changes: What differs from the manifest.
    """
    environment = Environment(
        loader=PackageLoader("mobilekit.cli.render", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": figure,
        "percent": percent,
        "error": error,
        "limit": limit_words,
        "step_line": step_line,
        "texts": texts_of,
        "gate": gate_words,
    }
    before = result.steps_from_before
    return environment.get_template(_TEMPLATE).render(
        name=name,
        manifest=manifest,
        ledger=result,
        verdict=result.verdict if result.is_good else "fail",
        pairs=[(row, before[place]) for place, row in result.totals.items()],
        worst=worst,
        places=by_place(result.findings),
        advice=advice_of(result.findings),
        calibration=calibration_lines(result),
        apps=app_lines(result),
        sizes=sizes,
        changes=changes,
        layers=result.layers,
        chart=layers_svg(result.layers, name) if result.layers else "",
        summary=summary(result.layers) if result.layers else [],
        is_rounded=is_rounded,
        sqnr=sqnr,
        worst_channel=worst_channel,
        nothing=NOTHING,
    )
