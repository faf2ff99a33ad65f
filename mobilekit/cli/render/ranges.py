"""Warnings about the ranges of activations on the terminal: a handful in short, or all of them."""

from __future__ import annotations

from typing import Any

LINES = 5
"""How many warnings an export prints."""


def range_lines(content: dict[str, Any], in_full: bool = False) -> list[str]:
    """Return warnings, as `RangeLint.to_json` gives them, one line for each kind of them.

    Args:
        content: The warnings.
        in_full: A line for each warning, and the advice under the last of each kind.
    """
    kinds: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for each in content["warnings"]:
        kinds.setdefault((each["severity"], each["kind"], each["advice"]), []).append(each)
    if in_full:
        return [line for members in kinds.values() for line in (*map(_line, members), f"  {members[0]['advice']}")]
    shown = list(kinds.values())[:LINES]
    left = sum(map(len, kinds.values())) - sum(map(len, shown))
    lines = [line for members in shown for line in (_line(members[0], len(members) - 1), f"  {members[0]['advice']}")]
    return [*lines, f"{_count(left, 'more warning')}; `mobilekit ranges` shows all"] if left else lines


def verdict_line(content: dict[str, Any]) -> str:
    """Return how many warnings there are."""
    severe = sum(each["severity"] == "severe" for each in content["warnings"])
    others = len(content["warnings"]) - severe
    counts = f"{severe} severe, {_count(others, 'other warning')}" if severe or others else "nothing to warn of"
    return f"Ranges on {_count(content['inputs'], 'calibration input')}: {counts}."


def _line(warning: dict[str, Any], more: int = 0) -> str:
    others = f" (and {_count(more, 'other step')})" if more else ""
    place = " ".join(filter(None, [warning["module"], warning["step"] if not _is_module(warning) else ""])) or "model"
    return f"{warning['severity']} {warning['kind']}: {place}{others}: {warning['text']}"


def _is_module(warning: dict[str, Any]) -> bool:
    """Return whether the step is the call of the module itself, and its name says nothing more."""
    return bool(warning["step"].startswith(warning["module"].replace(".", "_")))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
