"""Verdicts as Markdown, written for the summary of a CI job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mobilekit.bench.result import BenchResult, FileComparison, FileResult
from mobilekit.bench.verdicts import BudgetVerdict, Change
from mobilekit.cli.render.bench import engine_words, interval_words, limit_and_figure, ratio_and_interval
from mobilekit.cli.render.format import count, ms
from mobilekit.cli.render.runtime_faults import runtime_fault_lines

_MARKS = {"pass": "✅", "fail": "❌", "regressed": "❌", "improved": "✅", "same": "✅", "faster": "✅"}


def bench_markdown(benches: Sequence[BenchResult]) -> str:
    """Return a section for each device of a bench."""
    return "\n".join(_bench(bench) for bench in benches)


def _bench(bench: BenchResult) -> str:
    device, settings = bench.device, bench.settings
    lines = [
        f"## Bench on {plain(device.model)} ({device.abi}, {plain(device.os)})",
        "",
        f"{engine_words(bench)}, {count(settings.threads, 'thread')}, {count(bench.accepted_rounds, 'round')}.",
        "",
        *table(("file", "median ms", "95 % interval", "memory MiB", "size MB"), map(_result_row, bench.results)),
    ]
    if bench.comparisons:
        rows = map(_comparison_row, bench.comparisons)
        lines += ["", *table(("file", "against", "ratio", "95 % interval", "verdict"), rows)]
    if bench.baseline:
        lines += ["", "### Against the baseline", ""]
        lines += table(("file", "ratio", "95 % interval", "verdict", "why"), map(_change_row, bench.baseline))
    if bench.budgets:
        lines += ["", "### Budgets", ""]
        lines += table(("file", "limit on", "limit", "figure", "verdict", "why"), map(_budget_row, bench.budgets))
    faults = (line.strip() for line in runtime_fault_lines(bench.runtime_faults or ()))
    lines += ["", *(f"- {plain(note)}" for note in (*bench.notes, *faults))]
    return "\n".join(lines).rstrip() + "\n"


def _result_row(result: FileResult) -> tuple[str, ...]:
    latency = result.latency_ms
    if latency is None:
        return result.file, f"❌ refused: {result.why_not}", "", "", ""
    memory = "" if result.memory_mb is None else f"{result.memory_mb:.1f}"
    interval = interval_words(latency, ms, "to")
    return result.file, ms(latency.median), interval, memory, f"{result.size_mb:.2f}"


def _comparison_row(each: FileComparison) -> tuple[str, ...]:
    interval = interval_words(each, "{:.3f}".format, "to")
    return each.file, each.against, f"{each.ratio:.3f}", interval, marked(each.verdict)


def _change_row(change: Change) -> tuple[str, ...]:
    ratio, interval = ratio_and_interval(change)
    return change.file, ratio, interval.replace("..", "to"), marked(change.verdict), change.why


def _budget_row(row: BudgetVerdict) -> tuple[str, ...]:
    return row.file, row.what, *limit_and_figure(row), marked(row.verdict), row.why


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    return [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(plain, cells))} |"


def plain(text: str) -> str:
    """Return a text in one line in which nothing is Markdown's."""
    return re.sub(r"([\\|<*`])", r"\\\1", " ".join(text.split()))


def marked(verdict: str) -> str:
    """Return a verdict with its sign before it."""
    return f"{_MARKS.get(verdict, '')} {verdict}".strip()
