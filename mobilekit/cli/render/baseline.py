"""What changed since an earlier ledger, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from mobilekit.cli.render.format import count, figure
from mobilekit.parity.baseline import ArtifactChange, BaselineReport


def baseline_lines(report: BaselineReport) -> Iterator[str]:
    """Yield what changed: stages beyond their noise, files with other ops or sizes, and the verdict."""
    yield f"Against the baseline: {within_format_error(report)}."
    for row in report.changed:
        drift = f"relative L2 {figure(row.before, '.2e')} -> {figure(row.now, '.2e')}"
        yield f"  {row.verdict}: {row.place}: {drift}; {row.why}"
    for change in report.artifacts:
        yield f"  {change.file}: {artifact_change(change)}"
    yield f"Verdict against the baseline: {report.verdict}."


def within_format_error(report: BaselineReport) -> str:
    """Return how many comparisons did not change by more than their noise."""
    within = len(report.stages) - len(report.changed)
    return f"{within} of {count(len(report.stages), 'comparison')} within the error of the format"


def artifact_change(change: ArtifactChange) -> str:
    """Return how a file's size and ops changed."""
    before, now = change.size_before, change.size_now
    if before is None or now is None:
        return "new" if before is None else "no longer there"
    size = f"{before} -> {now} bytes ({100 * (now - before) / before:+.2f} %)"
    return ", ".join([size, *(f"{kind} {old} -> {new}" for kind, (old, new) in change.ops.items())])
