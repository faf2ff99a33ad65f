"""A ledger as Markdown, written for the summary of a CI job."""

from __future__ import annotations

from mobilekit.cli.findings import by_place, gate_words, texts_of
from mobilekit.cli.render.apps import app_lines, gate_of
from mobilekit.cli.render.baseline import artifact_change, within_format_error
from mobilekit.cli.render.format import count, figure, percent
from mobilekit.cli.render.markdown import marked, plain, table
from mobilekit.cli.render.terminal import calibration_lines, loosened
from mobilekit.cli.results import DiffResult
from mobilekit.parity.baseline import BaselineReport
from mobilekit.parity.ledger.result import Metrics


def diff_markdown(result: DiffResult, name: str) -> str:
    """Return a section: a line a stage against the reference, what is wrong, and what changed."""
    on = f"{count(result.inputs.count, 'input')} ({result.inputs.real})"
    lines = [
        f"## Parity of {plain(name)}: {marked(result.verdict)}",
        "",
        f"Each stage against the PyTorch reference, on {plain(on)}.",
        *map(plain, calibration_lines(result)),
        "",
        *_stages(result),
        "",
    ]
    lines += [f"- {plain(line.strip())}" for line in app_lines(result)]
    findings = [each for each in result.findings if each.rule != "baseline"]
    lines += [f"- {plain(f'{members[0].place}: {texts_of(members)}')}" for members in by_place(findings)]
    held = [gate for gate in result.gates if gate.verdict == "pass"]
    lines += [f"- {plain(f'{gate.artifact}: {gate_words(gate)}: pass')}" for gate in held]
    lines += [f"- Loosened: {plain(text)}" for text in loosened(result)]
    if result.baseline:
        lines += _baseline(result.baseline)
    return "\n".join(lines).rstrip() + "\n"


def _stages(result: DiffResult) -> list[str]:
    totals = list(result.totals.values())
    k = next((row.top_k for row in totals if row.top_k), None)
    labeled = any(row.top1 is not None for row in totals)
    rows = [
        (
            row.stage,
            row.output,
            *([""] * 3 if row.has_labels else _errors(row)),
            percent(row.top1_agreement, nothing=""),
            *([percent(row.topk_agreement, nothing="")] if k else []),
            *([percent(row.top1, nothing="")] if labeled else []),
            marked(row.verdict),
        )
        for row in totals
    ]
    tasks = (*([f"same top-{k} %"] if k else []), *(["top-1 %"] if labeled else []))
    head = ("stage", "output", "max abs", "relative L2", "cosine", "same top-1 %", *tasks, "verdict")
    rows += [
        (
            app.name,
            app.output,
            *([""] * 3 if app.equal_labels is not None else _errors(app)),
            percent(app.top1_agreement, nothing=""),
            *([percent(app.topk_agreement, nothing="")] if k else []),
            *([percent(app.top1, nothing="")] if labeled else []),
            marked(gate.verdict) if (gate := gate_of(app, result)) else "",
        )
        for app in result.apps
    ]
    rows += [(failed.stage, *[""] * (len(head) - 2), marked("fail")) for failed in result.failed_stages]
    rows += [(each.stage, *[""] * (len(head) - 2), "not run here") for each in result.not_run]
    return table(head, rows)


def _errors(row: Metrics) -> list[str]:
    return [figure(row.max_abs, nothing=""), figure(row.relative_l2, nothing=""), figure(row.cosine, ".6f", "")]


def _baseline(report: BaselineReport) -> list[str]:
    """Return what changed since an earlier ledger: stages beyond their noise, and files."""
    lines = ["", f"### Against the baseline: {marked(report.verdict)}", "", f"{within_format_error(report)}."]
    if report.changed:
        drifts = (
            (row.place, figure(row.before, ".2e", ""), figure(row.now, ".2e", ""), marked(row.verdict), row.why)
            for row in report.changed
        )
        lines += ["", *table(("comparison", "relative L2 then", "now", "verdict", "why"), drifts)]
    if report.artifacts:
        lines += ["", *(f"- {plain(each.file)}: {plain(artifact_change(each))}" for each in report.artifacts)]
    return lines
