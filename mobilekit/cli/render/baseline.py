"""What changed since an earlier ledger, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def baseline_lines(report: dict[str, Any]) -> Iterator[str]:
    """Yield what changed: stages beyond their noise, files with other ops or sizes, and the verdict."""
    changed = [row for row in report["stages"] if row["verdict"] != "same"]
    within = len(report["stages"]) - len(changed)
    yield f"Against the baseline: {within} of {len(report['stages'])} comparisons are within their noise."
    for row in changed:
        drift = f"relative L2 {_figure(row['before'])} -> {_figure(row['now'])}"
        yield f"  {row['verdict']}: {place(row)}: {drift}; {row['why']}"
    for row in report["artifacts"]:
        yield f"  {row['file']}: {artifact_change(row)}"
    yield f"Verdict against the baseline: {report['verdict']}."


def place(row: dict[str, Any]) -> str:
    """Return which comparison a row is."""
    return f"{row['stage']} against {row['against']} ({row['output']})"


def artifact_change(row: dict[str, Any]) -> str:
    """Return how a file's size and ops changed."""
    before, now = row["size_before"], row["size_now"]
    if before is None or now is None:
        return "new" if before is None else "no longer there"
    size = f"{before} -> {now} bytes ({100 * (now - before) / before:+.2f} %)"
    return ", ".join([size, *(f"{kind} {old} -> {new}" for kind, (old, new) in row["ops"].items())])


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2e}"
