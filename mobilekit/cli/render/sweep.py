"""Sweeps on the terminal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from mobilekit.cli.render.format import NOTHING, count, figure, megabytes, ms, percent
from mobilekit.sweep.compare import Aspect, ComparedFile, ComparedSweeps
from mobilekit.sweep.estimate import Estimate
from mobilekit.sweep.query import IMPORTED
from mobilekit.sweep.run import Summary
from mobilekit.sweep.show import ShownSweep

_HOUR, _MINUTE = 3600, 60


def plan_lines(plan: Estimate) -> Iterator[str]:
    """Yield the cells that a run would run, and about how long it would take."""
    yield from plan.cells
    basis = "by the steps that were run" if plan.measured else "if an export takes a minute, as ghostnetv2's does"
    yield (
        f"{count(len(plan.cells), 'cell')}, {count(plan.exports, 'export')}, {count(plan.steps, 'step')}: about "
        f"{duration(plan.seconds)} with {count(plan.workers, 'process', 'processes')}, {basis}"
    )


def summary_lines(summary: Summary, folder: Path) -> Iterator[str]:
    """Yield how the cells of a run ended, and what is next."""
    ran = len(summary.done) + len(summary.failed)
    if not ran:
        yield f"{folder} is complete: each cell has its rows."
    else:
        yield (
            f"{count(ran, 'cell')} ran, {len(summary.failed)} failed:"
            if summary.failed
            else (f"{count(ran, 'cell')} ran, none failed.")
        )
    for cell, ended in summary.failed:
        yield f"  {cell.label}: {ended.step}: {ended.why_not}"
        if ended.hint:
            yield f"    {ended.hint}"
    yield f"Next: mobilekit sweep show {folder}, mobilekit report {folder} -o report.html"


def duration(seconds: float) -> str:
    """Return a time in two units: `1 h 20 min`, `45 min`, `30 s`."""
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    hours, rest = divmod(round(seconds / _MINUTE), 60)
    return f"{hours} h {rest} min" if hours else f"{rest} min"


def rows_table(shown: ShownSweep) -> Table:
    """Return a line for each file; `*` is before those that no other on their device beats, `i` before others'."""
    table = Table(box=None)
    for column in ("", "model", "input", "precision", "device"):
        table.add_column(column, no_wrap=True)
    for column in ("size", "rel L2", "same %", "top-1 %", "parity", "targets", "ms", "95 %"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in shown.rows:
        latency = row["latency_ms"]
        table.add_row(
            "i" if row["source"] == IMPORTED else "*" if row["pareto"] else "",
            model_words(row),
            row["input_size"] or NOTHING,
            row["precision"],
            device_words(row),
            megabytes(row["size_bytes"]) if row["size_bytes"] is not None else NOTHING,
            figure(row["relative_l2"]),
            percent(row["top1_agreement"]),
            percent(row["top1"]),
            "failed" if row["status"] == "failed" else row["parity"] or NOTHING,
            " ".join(answer_words(json.loads(each)) for each in row["targets"] or ()) or NOTHING,
            NOTHING if latency is None else ms(latency),
            NOTHING
            if row["latency_low_ms"] is None
            else f"{ms(row['latency_low_ms'])} to {ms(row['latency_high_ms'])}",
        )
    return table


def model_words(row: Mapping[str, Any]) -> str:
    """Return a row's model, with its options and the recipe where that is not the model's own."""
    options = (f"{name}={value}" for name, value in json.loads(row["model_options"]).items())
    by = row["tool"] and f"({row['tool']})"
    return " ".join(filter(None, [row["model"], ",".join(options), row["recipe"] and f"by {row['recipe']}", by]))


def device_words(row: Mapping[str, Any]) -> str:
    """Return a row's device, with the threads where they are several."""
    if row["device"] is None:
        return NOTHING
    return row["device"] if row["threads"] in (1, None) else f"{row['device']} x{row['threads']}"


def answer_words(answer: Mapping[str, Any]) -> str:
    """Return what a target takes of a file: `cpu` all of it, `gpu 3/50` a part, `gpu 127/127, 31 wrong` falsely."""
    share = "" if answer["whole"] else f" {answer['taken']}/{answer['total']}"
    wrong = sum(each["count"] for each in answer.get("wrong", ()))
    return f"{answer['target']}{share}{f', {wrong} wrong' if wrong else ''}"


def compared_table(compared: ComparedSweeps) -> Table:
    """Return a line for each file, with the ratio of what was measured."""
    table = Table(box=None)
    for column in ("verdict", "model", "input", "precision", "device"):
        table.add_column(column, no_wrap=True)
    for column in ("size", "latency", "95 %"):
        table.add_column(column, justify="right", no_wrap=True)
    for file in compared.files:
        by_name = {aspect.what: aspect for aspect in file.aspects}
        latency = by_name.get("latency")
        row = vars(file)
        table.add_row(
            file.verdict,
            model_words(row),
            file.input_size or NOTHING,
            file.precision,
            device_words(row),
            _ratio(by_name.get("size")),
            _ratio(latency),
            NOTHING if latency is None or latency.low is None else f"{latency.low:.3f} to {latency.high:.3f}",
        )
    return table


def compared_lines(compared: ComparedSweeps) -> Iterator[str]:
    """Yield why files are worse, better or left open, and how many are."""
    for file in compared.files:
        for aspect in file.aspects:
            if aspect.verdict != "same":
                yield f"{aspect.verdict}: {_named(file)}: {aspect.what}: {aspect.why}"
    counts = Counter(file.verdict for file in compared.files)
    yield ", ".join(f"{number} {verdict}" for verdict, number in counts.items()) or "Neither sweep has rows."


def _named(file: ComparedFile) -> str:
    row = vars(file)
    place = f" on {device_words(row)}" if file.device else ""
    return f"{model_words(row)} {file.input_size or ''} {file.precision}{place}".replace("  ", " ")


def _ratio(aspect: Aspect | None) -> str:
    return NOTHING if aspect is None or aspect.ratio is None else f"{aspect.ratio:.3f}"
