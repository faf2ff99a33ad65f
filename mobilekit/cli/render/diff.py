"""What `mobilekit diff` prints."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from mobilekit.cli.render.apps import app_lines
from mobilekit.cli.render.baseline import baseline_lines
from mobilekit.cli.render.fault import fault_lines
from mobilekit.cli.render.layers import layers_table
from mobilekit.cli.render.runtime_faults import runtime_fault_lines
from mobilekit.cli.render.terminal import (
    finding_lines,
    ledger_table,
    limit_lines,
    loosened,
    measured_lines,
    verdict_line,
)
from mobilekit.cli.results import DiffResult


def diff_report(result: DiffResult, name: str, verbose: bool = False) -> Iterator[RenderableType]:
    """Yield the verdict, the table of the stages, what is wrong, and what was asked for beside them.

    Args:
        result: What was measured.
        name: Of what was measured.
        verbose: With the derivations of the limits, and every gate.
    """
    yield verdict_line(result, result.findings, name)
    yield ledger_table(result)
    yield from measured_lines(result)
    yield from app_lines(result)
    yield from (f"Loosened: {text}" for text in loosened(result))
    yield from finding_lines([each for each in result.findings if each.rule in ("stage", "parity", "gate", "labels")])
    yield from map(Text, runtime_fault_lines(result.runtime_faults))
    yield from limit_lines(result) if verbose else ()
    yield from baseline_lines(result.baseline) if result.baseline else ()
    if result.layers:
        yield layers_table(result.layers)
    yield from fault_lines(result.bisect) if result.bisect else ()
    if result.is_bisected and not result.bisect:
        yield "Nothing is outside its limit, so there is nothing to bisect."
