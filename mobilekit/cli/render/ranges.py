"""Warnings about the ranges of activations on the terminal: a handful in short, or all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mobilekit.cli.render.format import count
from mobilekit.parity.ranges.result import RangeLint, RangeWarning

KINDS = 3
"""How many kinds of warnings an export prints."""


def range_lines(lint: RangeLint, in_full: bool = False) -> list[str]:
    """Return warnings, one line for each kind of them.

    Args:
        lint: The warnings.
        in_full: A line for each warning, and the advice under the last of each kind.
    """
    kinds: dict[tuple[str, str, str], list[RangeWarning]] = {}
    for each in lint.warnings:
        kinds.setdefault((each.severity, each.kind, each.advice), []).append(each)
    if in_full:
        return [line for members in kinds.values() for line in (*map(_line, members), f"  {members[0].advice}")]
    shown = list(kinds.values())[:KINDS]
    rest = len(lint.warnings) - sum(map(len, shown))
    return [_line(members[0], len(members) - 1) for members in shown] + _more(rest)


def verdict_line(lint: RangeLint) -> str:
    """Return how many warnings there are."""
    severe = sum(each.severity == "severe" for each in lint.warnings)
    others = len(lint.warnings) - severe
    counts = f"{severe} severe, {count(others, 'other warning')}" if severe or others else "nothing to warn of"
    return f"Ranges on {count(lint.count, 'calibration input')}: {counts}."


def float16_lines(losses: Mapping[str, float]) -> list[str]:
    """Return a line for each output: what float16 arithmetic moves it by, as relative L2."""
    told = {
        name: f"moves by {loss:.1e} (relative L2, simulated)"
        if math.isfinite(loss)
        else "is no number: values leave float16's range (simulated)"
        for name, loss in losses.items()
    }
    return [f"In float16 arithmetic, as on GPUs and NPUs, {name} {words}." for name, words in told.items()]


def _more(rest: int) -> list[str]:
    return [f"{count(rest, 'more warning')}; `mobilekit ranges` shows all"] if rest else []


def _line(warning: RangeWarning, more: int = 0) -> str:
    others = f" (and {count(more, 'other step')})" if more else ""
    place = " ".join(filter(None, [warning.module, "" if _is_module(warning) else warning.step])) or "model"
    return f"{warning.severity} {warning.kind}: {place}{others}: {warning.text}"


def _is_module(warning: RangeWarning) -> bool:
    """Return whether the step is the call of the module itself, and its name says nothing more."""
    return warning.step.startswith(warning.module.replace(".", "_"))
