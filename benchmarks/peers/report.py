"""Writes the tables and the chart of docs/peers.md."""

from __future__ import annotations

import os
import platform
from typing import Any

from benchmarks.export_cost import processor
from benchmarks.peers import environments
from benchmarks.peers.chart import draw
from benchmarks.peers.rows import Group, Row, read_all
from benchmarks.peers.tools import MODELS, TOOLS
from mobilekit.store.files import write_atomic

DOCS = environments.ROOT / "docs" / "peers.md"
CHART = environments.ROOT / "docs" / "peers.svg"
BEGIN, END = "<!-- benchmarks/peers -->", "<!-- end -->"
_QUIET = 1.7  # load average up to which little else was running; what is timed makes 1
_HEAD = (
    "| precision | converter | ms | of mobilekit's | MB | partitions | max abs | cosine | convert, s | memory, MB | |"
)


def write() -> None:
    """Write what the last timings and conversions gave."""
    groups, timed = read_all(MODELS)
    if not groups:
        raise SystemExit("nothing is timed yet")
    text = DOCS.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{DOCS} has no place for the tables: {BEGIN} ... {END}")
    body = "\n".join([summary(groups), "", *(table(groups, model) for model in timed), conditions(groups, timed)])
    draw(groups, CHART)
    write_atomic(DOCS, f"{before}{BEGIN}\n{body}\n{END}{after}")
    print(summary(groups))


def summary(groups: list[Group]) -> str:
    """Return a row for each model and precision: mobilekit's file beside the fastest other."""
    lines = [
        "| model | precision | mobilekit, ms | limit, ms | fastest other | its ms | of mobilekit's | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for group in groups:
        ours, peer = group.ours, group.best_peer
        cells = [group.model, group.precision, _ms(ours), f"{group.limit_ms:.2f}"]
        cells += [peer.tool, _ms(peer), _ratio(peer), _note(peer)] if peer else ["none runs", "", "", ""]
        lines.append(_line(cells))
    return "\n".join(lines)


def table(groups: list[Group], model: str) -> str:
    """Return the section of one model."""
    lines = [f"### {model}", "", _HEAD, "|---" * (_HEAD.count("|") - 1) + "|"]
    for group in groups:
        if group.model == model:
            lines += [_line(_cells(row)) for row in group.rows]
            lines.append(_line([group.precision, "*the limit*", f"{group.limit_ms:.2f}", *[""] * 8]))
    return "\n".join([*lines, ""])


def conditions(groups: list[Group], timed: dict[str, dict[str, Any]]) -> str:
    """Return machine, dates, versions, rounds and the rates that the limits are of."""
    first = next(iter(timed.values()))
    settings = first["bench"]["settings"]
    dates = sorted({content["date"] for content in timed.values()})
    rates = {
        precision: [2e-9 * content["rates"][precision] for content in timed.values()] for precision in first["rates"]
    }
    spans = ", ".join(f"{min(each):.0f} to {max(each):.0f} G/s in {name}" for name, each in rates.items())
    versions = sorted({each for group in groups for row in group.rows for each in _versions(row)})
    load = max(content["load"] for content in timed.values())
    busy = f" The machine was busy (load average {load:.1f}): the figures mean little." if load > _QUIET else ""
    return "\n".join(
        [
            f"{settings['rounds']} rounds of {settings['runs']} inferences after {settings['warmup_runs']} that do not "
            f"count, {settings['threads']} thread. Best rate of pointwise",
            f"convolutions (operations, two a multiply-accumulate): {spans}.",
            "",
            f"By `benchmarks/peers` on {' and '.join(dates)}: {processor()}, {os.cpu_count()} cores,",
            f"Python {platform.python_version()}; {', '.join(versions)}.{busy}",
        ]
    )


def _versions(row: Row) -> list[str]:
    known = row.record.get("versions", {})
    packages = {tool.name: tool.packages for tool in TOOLS}[row.tool]
    return [f"{name} {known[name]}" for name in packages if name in known]


def _cells(row: Row) -> list[str]:
    record, metrics = row.record, row.record.get("metrics")
    delegate = record.get("delegate")
    return [
        row.precision,
        row.tool,
        _ms(row),
        "1" if row.tool == "mobilekit" else _ratio(row),
        f"{record['size_bytes'] / 1e6:.2f}" if "size_bytes" in record else "-",
        str(delegate["partitions"]) if delegate else "-",
        f"{metrics['max_abs']:.1e}" if metrics else "-",
        f"{metrics['cosine']:.6f}" if metrics else "-",
        f"{record['seconds']:.0f}" if "seconds" in record else "-",
        f"{record['memory_mb']:.0f}" if "memory_mb" in record else "-",
        _note(row),
    ]


def _ms(row: Row) -> str:
    if row.latency is None:
        return "-"
    return f"{row.latency['median']:.2f} ({row.latency['low']:.2f} to {row.latency['high']:.2f})"


def _ratio(row: Row) -> str:
    if row.comparison is None:
        return "-"
    ratio, low, high = (row.comparison[key] for key in ("ratio", "low", "high"))
    return f"{ratio:.2f} ({low:.2f} to {high:.2f}), {row.comparison['verdict']}"


def _note(row: Row) -> str:
    return row.problem.replace("|", "/").replace("<", "(").replace(">", ")")


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
