"""Writes the tables and charts of docs/growth.md."""

from __future__ import annotations

import datetime
import os
import platform
from typing import Any

from benchmarks.export_cost import processor
from benchmarks.growth.points import FAMILIES, OURS, PEER, SIZE, SIZES, TOOLS, VARIED, Point
from benchmarks.peers import environments
from mobilekit.store.files import write_atomic
from mobilekit.store.versions import tool_versions

DOCS = environments.ROOT / "docs" / "growth.md"
RUNS_CHART = environments.ROOT / "docs" / "growth.svg"
EXPORTS_CHART = environments.ROOT / "docs" / "export_growth.svg"
BEGIN, END = "<!-- benchmarks/growth -->", "<!-- end -->"
_PICTURES = (
    f"![Latency and memory against size and width]({RUNS_CHART.name})",
    f"![What conversions take against the number of parameters]({EXPORTS_CHART.name})",
)
_COLORS = {OURS: "#4c72b0", PEER: "#8c8c8c"}
_TOOLS = ("torch", "onnx2tf", "tensorflow", "ai-edge-litert")

Timed = dict[tuple[Point, str], dict[str, Any]]
"""Latency and memory of each file, as a bench's results have them."""


def write(points: list[Point], timed: Timed, rounds: int) -> None:
    """Write all of it."""
    _draw_runs(points, timed)
    _draw_exports(points)
    before, begin, rest = DOCS.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{DOCS} has no place for the table: {BEGIN} ... {END}")
    body = "\n\n".join([*_PICTURES, table(points, timed), _conditions(rounds)])
    write_atomic(DOCS, f"{before}{BEGIN}\n{body}\n{END}{after}")


def table(points: list[Point], timed: Timed) -> str:
    """Return a row for each point, as Markdown."""
    lines = [
        f"| model | size | params | MACs | {OURS}, ms | {PEER}, ms | ratio "
        "| memory, MiB | its | export, s | its | MiB | its |",
        "|---" * 13 + "|",
    ]
    for point in points:
        record, (ours, peer) = point.record, (timed[point, tool] for tool in TOOLS)
        latencies = [each["latency_ms"]["median"] for each in (ours, peer)]
        cells = [point.model, str(point.size), f"{record['params'] / 1e6:.2f}M", f"{record['macs'] / 1e6:.0f}M"]
        cells += [*(f"{each:.2f}" for each in latencies), f"{latencies[1] / latencies[0]:.2f}"]
        cells += [f"{each['memory_mb']:.0f}" for each in (ours, peer)]
        cells += [f"{record[tool][key]:.0f}" for key in ("seconds", "memory_mb") for tool in TOOLS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _conditions(rounds: int) -> str:
    versions = tool_versions()
    return (
        f"{rounds} rounds of random order, one thread; by `benchmarks/growth` on {datetime.date.today()}:\n"
        f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{', '.join(f'{name} {versions[name]}' for name in _TOOLS)}."
    )


def _draw_runs(points: list[Point], timed: Timed) -> None:
    """Draw latency and memory of each family, against the size and against the width's multiply-accumulates."""
    from matplotlib.figure import Figure

    families = list(dict.fromkeys(point.family for point in points))
    figure = Figure((3.3 * len(families), 10), layout="constrained")
    axes = figure.subplots(4, len(families), squeeze=False)
    for column, family in enumerate(families):
        sizes = [point for size in SIZES for point in points if point.model == VARIED[family] and point.size == size]
        widths = [point for point in points if point.size == SIZE and point.model in FAMILIES[family]]
        for tool in TOOLS:
            style = {"color": _COLORS[tool], "marker": "o", "label": tool}
            for row, chosen in ((0, sizes), (2, widths)):
                across = [point.size if row == 0 else point.record["macs"] / 1e6 for point in chosen]
                results = [timed[point, tool] for point in chosen]
                medians = [each["latency_ms"]["median"] for each in results]
                bounds = [
                    [abs(each["latency_ms"][key] - each["latency_ms"]["median"]) for each in results]
                    for key in ("low", "high")
                ]
                axes[row, column].errorbar(across, medians, yerr=bounds, capsize=3, **style)
                axes[row + 1, column].plot(across, [each["memory_mb"] for each in results], **style)
        axes[0, column].set_title(f"{VARIED[family]}, by size", fontsize="medium")
        axes[2, column].set_title(f"{family} at {SIZE}, by width", fontsize="medium")
        for row in (0, 1):
            axes[row, column].set_xticks(SIZES)
            axes[row, column].set_xlabel("height and width, pixels")
            axes[row + 2, column].set_xlabel("multiply-accumulates, millions")
        for row, label in enumerate(("ms", "memory, MiB") * 2):
            axes[row, column].set_ylabel(label)
            axes[row, column].set_ylim(bottom=0)
            axes[row, column].grid(alpha=0.3)
    axes[0, 0].legend()
    _save(figure, RUNS_CHART)


def _draw_exports(points: list[Point]) -> None:
    """Draw wall time and peak memory of the conversions against the number of parameters."""
    from matplotlib.figure import Figure

    figure = Figure((10, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, key, label in zip(axes, ("seconds", "memory_mb"), ("wall time, s", "peak memory, MiB"), strict=True):
        for tool in TOOLS:
            across = [point.record["params"] / 1e6 for point in points]
            axis.plot(across, [point.record[tool][key] for point in points], "o", color=_COLORS[tool], label=tool)
        axis.set_xlabel("parameters, millions")
        axis.set_ylabel(label)
        axis.set_ylim(0, 1.1 * max(point.record[tool][key] for point in points for tool in TOOLS))
        axis.grid(alpha=0.3)
    axes[0].legend()
    _save(figure, EXPORTS_CHART)


def _save(figure: Any, path: Any) -> None:
    import matplotlib as mpl

    mpl.rcParams["svg.hashsalt"] = "mobilekit"  # the same figures give the same file
    figure.savefig(path, metadata={"Date": None})
