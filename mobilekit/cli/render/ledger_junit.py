"""A ledger as JUnit: a test for each comparison, stage left out, gate, and comparison with the baseline."""

from __future__ import annotations

from collections.abc import Iterator

from mobilekit.cli.findings import by_place, texts_of
from mobilekit.cli.render.format import figure
from mobilekit.cli.render.junit import Case, to_junit
from mobilekit.cli.results import DiffResult
from mobilekit.parity.ledger.result import Row

_FIGURES = (
    "max_abs",
    "relative_l2",
    "cosine",
    "top1_agreement",
    "topk_agreement",
    "top1",
    "max_error_eps",
    "equal_labels",
)


def diff_junit(result: DiffResult, name: str) -> str:
    """Return what `mobilekit diff` measured as JUnit."""
    return to_junit(_cases(result, f"diff {name}"))


def _cases(result: DiffResult, suite: str) -> Iterator[Case]:
    errors = [finding for finding in result.findings if finding.level == "error"]
    failures = {(members[0].rule, members[0].place): texts_of(members) for members in by_place(errors)}
    warnings = [finding for finding in result.findings if finding.level == "warning" and finding.rule == "parity"]
    unjudged = {members[0].place: texts_of(members) for members in by_place(warnings)}
    gates = {(each.file, each.gate): f"{each.place}: {each.text}" for each in errors if each.rule == "gate"}
    for gate in result.gates:
        yield Case(
            suite, f"{gate.artifact}: {gate.gate}", gates.get((gate.artifact, gate.gate)), output=f"{gate.value:g}"
        )
    for failed in result.failed_stages:
        yield Case(suite, failed.stage, failures[("stage", failed.stage)])
    for each in result.not_run:
        yield Case(suite, each.stage, None, f"not run here: {each.reason}")
    for row in result.rows:
        failure, skipped = failures.get(("parity", row.place)), unjudged.get(row.place)
        yield Case(suite, row.place, failure, skipped, output=_figures(row))
    for change in result.baseline.stages if result.baseline else ():
        skipped = f"{change.verdict}: {change.why}" if change.verdict in ("new", "missing") else None
        yield Case(f"{suite}: against the baseline", change.place, failures.get(("baseline", change.place)), skipped)


def _figures(row: Row) -> str:
    values = {name: figure(getattr(row, name), ".6g", "") for name in _FIGURES}
    return ", ".join(f"{name} {value}" for name, value in values.items() if value)
