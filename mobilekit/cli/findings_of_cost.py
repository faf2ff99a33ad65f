"""What a bench or a count found to cost too much, as the findings that SARIF shows."""

from __future__ import annotations

from collections.abc import Iterator

from mobilekit.bench.instructions.result import CountResult
from mobilekit.bench.result import BenchResult
from mobilekit.cli.findings import Finding


def cost_findings(result: BenchResult | CountResult) -> tuple[Finding, ...]:
    """Return what makes a bench's or a count's exit code 1, in the order of the files."""
    return tuple(_found(result))


def _found(result: BenchResult | CountResult) -> Iterator[Finding]:
    paths = {each.file: each.path for each in result.results}
    for each in result.results:
        if not each.accepted:
            yield _finding(each.file, each.path, (each.why_not or "refused").rstrip("."))
    for change in result.baseline or ():
        if change.verdict == "regressed":
            part = getattr(change, "part", "model")
            yield _finding(change.file, paths[change.file], f"against the baseline: {change.why}", part)
    for row in result.budgets or ():
        if row.verdict == "fail":
            yield _finding(row.file, paths[row.file], f"{row.limited}: {row.why}", row.part or "model")


def _finding(file: str, path: str, text: str, part: str = "model") -> Finding:
    inside = None if part == "model" else part.removeprefix("module ")
    place = file if inside is None else f"{file}, {part}"
    return Finding(rule="cost", level="error", place=place, text=text, file=path, module=inside)
