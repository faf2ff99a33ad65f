"""The chart of docs/peers.md: a bar for each file, with the interval of its median, beside the arithmetic limit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers.rows import Group
from benchmarks.peers.tools import OURS, PRECISIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OURS, _OTHER, _WRONG = "#4c72b0", "#8c8c8c", "#d9d9d9"
_WIDTH, _HEIGHT = 3.4, 2.2  # inches, of one group


def draw(groups: list[Group], path: Path) -> None:
    """Draw a row of axes for each precision, a column for each model."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "mobilekit"  # the same figures give the same file
    models = list(dict.fromkeys(group.model for group in groups))
    figure = Figure((_WIDTH * len(models), _HEIGHT * len(PRECISIONS) + 0.4), layout="constrained")
    axes = figure.subplots(len(PRECISIONS), len(models), squeeze=False, sharey=True)
    for group in groups:
        _draw_group(axes[PRECISIONS.index(group.precision), models.index(group.model)], group)
    figure.supxlabel(
        "ms, one thread: median with its 95 % interval; dashed: the arithmetic limit; hatched: wrong or of no use",
        fontsize="small",
    )
    figure.savefig(path, metadata={"Date": None})


def _draw_group(axis: Axes, group: Group) -> None:
    for place, row in enumerate(group.rows):
        if row.latency is None:
            axis.annotate(" no figure", (0, place), va="center", fontsize="small", color="gray")
            continue
        median, low, high = (row.latency[key] for key in ("median", "low", "high"))
        color = _OURS if row.tool == OURS.name else _WRONG if row.problem else _OTHER
        hatch = "//" if row.problem else None
        axis.barh(place, median, xerr=[[median - low], [high - median]], color=color, hatch=hatch, edgecolor="white")
        axis.annotate(f"{median:.2f}", (high, place), (4, 0), textcoords="offset points", va="center", fontsize="small")
    axis.axvline(group.limit_ms, color="black", linestyle="--", linewidth=1)
    axis.set_yticks(range(len(group.rows)), [row.tool for row in group.rows])
    axis.set_title(f"{group.model}, {group.precision}", fontsize="medium")
    axis.set_xlim(0, 1.2 * max((row.latency["high"] for row in group.rows if row.latency), default=1))
    axis.set_ylim(len(group.rows) - 0.5, -0.5)
