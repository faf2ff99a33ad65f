"""Benches as pictures, PNG or SVG by the file's suffix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from mobilekit.bench.profile import Profile
from mobilekit.bench.result import BenchResult
from mobilekit.cli.render.format import count, ms
from mobilekit.cli.render.plots import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer

_OUTSIDE, _INSIDE = "#c44e52", "#4c72b0"
_MODULES = 20
_WIDTH = 13.0  # inches
_ROOM_FOR_LABELS = 1.25  # of the longest bar
_TITLE, _LABEL = 110, 44  # characters of a line


def draw_bench(benches: Sequence[BenchResult], path: Path) -> None:
    """Draw the latencies of each device with their intervals, and below them a row for each profile.

    Args:
        benches: One of each device.
        path: The plot, .png or .svg.
    """
    from matplotlib.figure import Figure

    profiles = [
        (f"{name} on {bench.device.name}", profile)
        for bench in benches
        for name, profile in (bench.profiles or {}).items()
    ]
    heights = [1.6 + 0.45 * len(bench.results) for bench in benches]
    heights += [1.8 + 0.27 * max(len(_positive(profile.by_kind)), len(_shown(profile))) for _, profile in profiles]
    figure = Figure(figsize=(_WIDTH, sum(heights)), layout="constrained")
    rows = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for row, bench in zip(rows, benches, strict=False):
        _draw_latencies(row.subplots(), bench)
    for row, (title, profile) in zip(rows[len(benches) :], profiles, strict=True):
        row.suptitle(f"{_text(title, _TITLE)}\n{_text(profile.source, _TITLE)}", fontsize="medium")
        axes = row.subplots(1, 2 if profile.by_module else 1, squeeze=False)[0]
        _draw_kinds(axes[0], profile)
        if profile.by_module:
            _draw_modules(axes[1], profile)
    save(figure, path)


def _draw_latencies(axis: Axes, bench: BenchResult) -> None:
    accepted = [(each, each.latency_ms) for each in bench.results if each.latency_ms]
    for place, (each, latency) in enumerate(accepted):  # every round, so that the spread is seen
        errors = [[latency.median - latency.low], [latency.high - latency.median]]
        axis.barh(place, latency.median, xerr=errors, color=_INSIDE, height=0.55, capsize=4)
        axis.plot(each.raw_ms, [place] * len(each.raw_ms), ".", color="black", alpha=0.4, markersize=4)
        end = (max(latency.high, *each.raw_ms), place)
        axis.annotate(ms(latency.median), end, (6, 0), textcoords="offset points", va="center", fontsize="small")
    axis.set_yticks(range(len(accepted)), [_text(each.file, _LABEL) for each, _ in accepted])
    axis.invert_yaxis()
    axis.set_xlim(0, axis.get_xlim()[1] * 1.08)
    confidence = min((latency.confidence for _, latency in accepted), default=0.95)
    axis.set_xlabel(f"ms: median of the rounds with its {100 * min(confidence, 0.95):.0f} % interval; a dot a round")
    device, refused = bench.device, len(bench.results) - len(accepted)
    warning = " (emulated: means nothing)" if device.emulated else ""
    threads = count(bench.settings.threads, "thread")
    title = f"{device.model}, {device.abi}{warning}; {bench.engine.name}, {threads}"
    axis.set_title(_text(f"{title}; {refused} refused" if refused else title, _TITLE))


def _draw_kinds(axis: Axes, profile: Profile) -> None:
    """Draw the time of each kind of work, what is outside the delegate in another color."""
    sums = _positive(profile.by_kind)
    outside = dict.fromkeys(sums, 0.0)
    for op in profile.ops:
        if profile.has_delegate and not op.delegated and op.kind in sums:
            outside[op.kind] += op.ms or 0
    inside = {kind: time - outside[kind] for kind, time in sums.items()}
    first = _bars(axis, inside, _INSIDE)
    last = _bars(axis, outside, _OUTSIDE, list(inside.values()))
    _label(axis, last, sums)
    if any(outside.values()):
        axis.legend([first, last], ["in the delegate", "outside it"], loc="lower right")
    without = "" if profile.has_delegate else "; no delegate took part"
    axis.set_xlabel(f"ms by kind of work{without}")


def _draw_modules(axis: Axes, profile: Profile) -> None:
    sums = _shown(profile)
    _label(axis, _bars(axis, sums, _INSIDE), sums)
    axis.set_xlabel("ms by module of the PyTorch model")


def _shown(profile: Profile) -> dict[str, float]:
    """Return the modules that take longest; what the others take together comes last."""
    sums = list(_positive(profile.by_module).items())
    rest = sums[_MODULES:]
    others = {f"{len(rest)} others": sum(ms for _, ms in rest)} if rest else {}
    return {**dict(sums[:_MODULES]), **others}


def _positive(sums: dict[str, float]) -> dict[str, float]:
    return {name: ms for name, ms in sums.items() if ms > 0}


def _bars(axis: Axes, sums: dict[str, float], color: str, left: Sequence[float] | None = None) -> BarContainer:
    return axis.barh(range(len(sums)), list(sums.values()), left=left, color=color)


def _label(axis: Axes, bars: BarContainer, sums: dict[str, float]) -> None:
    """Write the names beside the axis, the longest bar uppermost, and each bar's time at its end."""
    axis.set_yticks(range(len(sums)), [_text(name, _LABEL) for name in sums], fontsize="small")
    axis.invert_yaxis()
    axis.bar_label(bars, [ms(value) for value in sums.values()], padding=4, fontsize="small")
    axis.set_xlim(0, _ROOM_FOR_LABELS * (max(sums.values(), default=0) or 1))


def _text(text: str, width: int) -> str:
    """Return a text as it is to be read: a dollar is no sign of mathematics, and long lines are broken."""
    return fill(text, width).replace("$", r"\$")
