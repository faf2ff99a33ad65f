"""Verdicts as Markdown, written for the summary of a CI job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from mobilekit.bench.result import BenchResult, FileComparison, FileResult
from mobilekit.bench.verdicts import BudgetVerdict, Change
from mobilekit.cli.render.baseline import artifact_change, place
from mobilekit.cli.render.bench import count, engine_words, limit_and_figure, ms, ratio_and_interval, unsure
from mobilekit.cli.render.terminal import gate_line, loosened, misses

_MARKS = {"pass": "✅", "fail": "❌", "regressed": "❌", "improved": "✅", "same": "✅", "faster": "✅"}


def bench_markdown(benches: Sequence[BenchResult]) -> str:
    """Return a section for each device of a bench."""
    return "\n".join(_bench(bench) for bench in benches)


def _bench(bench: BenchResult) -> str:
    device, settings = bench.device, bench.settings
    lines = [
        f"## Bench on {_plain(device.model)} ({device.abi}, {_plain(device.os)})",
        "",
        f"{engine_words(bench)}, {count(settings.threads, 'thread')}, {count(bench.accepted_rounds, 'round')}.",
        "",
        *_table(("file", "median ms", "95 % interval", "memory MB", "size MB"), map(_result_row, bench.results)),
    ]
    if bench.comparisons:
        rows = map(_comparison_row, bench.comparisons)
        lines += ["", *_table(("file", "against", "ratio", "95 % interval", "verdict"), rows)]
    if bench.baseline:
        lines += ["", "### Against the baseline", ""]
        lines += _table(("file", "ratio", "95 % interval", "verdict", "why"), map(_change_row, bench.baseline))
    if bench.budgets:
        lines += ["", "### Budgets", ""]
        lines += _table(("file", "limit on", "limit", "figure", "verdict", "why"), map(_budget_row, bench.budgets))
    lines += ["", *(f"- {_plain(note)}" for note in bench.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _result_row(result: FileResult) -> tuple[str, ...]:
    latency = result.latency_ms
    if latency is None:
        return result.file, f"❌ refused: {result.why_not}", "", "", ""
    memory = "" if result.memory_mb is None else f"{result.memory_mb:.1f}"
    interval = f"{ms(latency.low)} to {ms(latency.high)}{unsure(latency)}"
    return result.file, ms(latency.median), interval, memory, f"{result.size_mb:.2f}"


def _comparison_row(each: FileComparison) -> tuple[str, ...]:
    interval = f"{each.low:.3f} to {each.high:.3f}{unsure(each)}"
    return each.file, each.against, f"{each.ratio:.3f}", interval, marked(each.verdict)


def _change_row(change: Change) -> tuple[str, ...]:
    ratio, interval = ratio_and_interval(change)
    return change.file, ratio, interval.replace("..", "to"), marked(change.verdict), change.why


def _budget_row(row: BudgetVerdict) -> tuple[str, ...]:
    return row.file, row.limited, *limit_and_figure(row), marked(row.verdict), row.why


def diff_markdown(ledger: dict[str, Any], name: str) -> str:
    """Return a ledger as a section: a line a stage against the reference, and what failed."""
    totals = [row for row in ledger["stages"] if row["against"] == "reference"]
    k = next((row["top_k"] for row in totals if row.get("top_k")), None)
    labelled = any(row.get("top1") is not None for row in totals)
    rows = (
        (
            row["stage"],
            row["output"],
            _figure(row["max_abs"]),
            _figure(row["relative_l2"]),
            _figure(row["cosine"], ".6f"),
            f"{100 * row['top1_agreement']:.1f}",
            *([_percent(row.get("topk_agreement"))] if k else []),
            *([_percent(row.get("top1"))] if labelled else []),
            _mark(row),
        )
        for row in totals
    )
    tasks = (*([f"same top-{k} %"] if k else []), *(["top-1 %"] if labelled else []))
    head = ("stage", "output", "max abs", "relative L2", "cosine", "same top-1 %", *tasks, "verdict")
    inputs = ledger["inputs"]
    lines = [
        f"## Parity of {name}: {_mark(ledger)}",
        "",
        f"Each stage against the PyTorch reference, on {inputs['count']} inputs ({inputs['real']}).",
        "",
        *_table(head, rows),
    ]
    failed = [row for row in ledger["stages"] if row["verdict"] != "pass"]
    lines += ["", *(f"- {place(row)}: {misses(row)}" for row in failed)]
    lines += [f"- {_plain(gate_line(gate))}" for gate in ledger.get("gates", ())]
    lines += [f"- Loosened: {_plain(text)}" for text in loosened(ledger)]
    if ledger.get("baseline"):
        lines += _baseline(ledger["baseline"])
    return "\n".join(lines).rstrip() + "\n"


def _baseline(report: dict[str, Any]) -> list[str]:
    """Return what changed since an earlier ledger: stages beyond their noise, and files."""
    changed = [row for row in report["stages"] if row["verdict"] != "same"]
    within = f"{len(report['stages']) - len(changed)} of {len(report['stages'])} comparisons are within their noise."
    lines = ["", f"### Against the baseline: {_mark(report)}", "", within]
    if changed:
        drifts = (
            (place(row), _figure(row["before"], ".2e"), _figure(row["now"], ".2e"), _mark(row), row["why"])
            for row in changed
        )
        lines += ["", *_table(("comparison", "relative L2 then", "now", "verdict", "why"), drifts)]
    if report["artifacts"]:
        lines += ["", *(f"- {_plain(row['file'])}: {_plain(artifact_change(row))}" for row in report["artifacts"])]
    return lines


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_plain, cells))} |"


def _plain(text: str) -> str:
    """Return a text in one line in which nothing is Markdown's."""
    return re.sub(r"([\\|<*`])", r"\\\1", " ".join(text.split()))


def _mark(row: dict[str, Any]) -> str:
    return marked(row["verdict"])


def marked(verdict: str) -> str:
    """Return a verdict with its sign before it."""
    return f"{_MARKS.get(verdict, '')} {verdict}".strip()


def _figure(value: float | None, form: str = ".1e") -> str:
    return "" if value is None else format(value, form)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"
