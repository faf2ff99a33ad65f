"""Benches as pictures, PNG or SVG by the file's suffix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilekit.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Draw = Callable[["Axes", dict[str, Any]], None]

SUFFIXES = (".png", ".svg")
_OUTSIDE, _INSIDE = "#c44e52", "#4c72b0"
_MODULES = 20


def check_suffix(path: Path) -> None:
    """Refuse a file of a kind that is not drawn.

    Raises:
        UsageError: The suffix is neither .png nor .svg.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path} is neither .png nor .svg.", "Give the plot one of these suffixes.")


def draw_bench(contents: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the latencies of each device with their intervals, and the profiles by kind and module.

    Args:
        contents: Results of devices, as `mobilekit bench --json` has them.
        path: The picture.

    Raises:
        UsageError: The suffix is neither .png nor .svg.
    """
    check_suffix(path)
    from matplotlib.figure import Figure

    panels: list[tuple[_Draw, dict[str, Any], float]] = [
        (_draw_latencies, content, 1 + 0.45 * len(content["results"])) for content in contents
    ]
    for content in contents:
        for name, profile in content.get("profiles", {}).items():
            titled = {**profile, "title": f"{name} on {content['device']['name']}"}
            panels.append((_draw_kinds, titled, 1 + 0.3 * len(profile["by_kind"])))
            if profile["by_module"]:
                panels.append((_draw_modules, titled, 1 + 0.3 * min(len(profile["by_module"]), _MODULES)))
    heights = [height for _, _, height in panels]
    figure = Figure(figsize=(9, sum(heights) + 0.6 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
    for (draw, content, _), axis in zip(panels, axes[:, 0], strict=True):
        draw(axis, content)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    part = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        figure.savefig(part, dpi=120)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _draw_latencies(axis: Axes, content: dict[str, Any]) -> None:
    results = [result for result in content["results"] if result["latency_ms"]]
    figures = [result["latency_ms"] for result in results]
    medians = [figure["median"] for figure in figures]
    reach = [
        [median - figure["low"] for median, figure in zip(medians, figures, strict=True)],
        [figure["high"] - median for median, figure in zip(medians, figures, strict=True)],
    ]
    names = [result["file"] for result in results]
    axis.barh(names, medians, xerr=reach, color=_INSIDE, height=0.55, capsize=4)
    for place, result in enumerate(results):  # every round, so that the spread is seen
        axis.plot(result["raw_ms"], [place] * len(result["raw_ms"]), ".", color="black", alpha=0.4, markersize=4)
    axis.invert_yaxis()
    axis.set_xlim(left=0)
    axis.set_xlabel("ms: median of the rounds with its 95 % interval; a dot a round")
    device, engine = content["device"], content["engine"]
    warning = " (emulated: means nothing)" if device["emulated"] else ""
    axis.set_title(f"{device['model']}, {device['abi']}{warning}; {engine['name']}, {_threads(content)}")


def _draw_kinds(axis: Axes, profile: dict[str, Any]) -> None:
    """Draw the time of each kind of work, what is outside the delegate in another colour."""
    kinds = list(profile["by_kind"])
    outside = dict.fromkeys(kinds, 0.0)
    for op in profile["ops"]:
        if not op["delegated"]:
            outside[op["kind"]] += op["ms"] or 0
    inside = [profile["by_kind"][kind] - outside[kind] for kind in kinds]
    axis.barh(kinds, inside, color=_INSIDE, label="in the delegate")
    axis.barh(kinds, [outside[kind] for kind in kinds], left=inside, color=_OUTSIDE, label="outside")
    axis.invert_yaxis()
    axis.legend()
    axis.set_xlabel(f"ms ({profile['source']})")
    axis.set_title(f"{profile['title']}: by kind of work")


def _draw_modules(axis: Axes, profile: dict[str, Any]) -> None:
    sums = list(profile["by_module"].items())[:_MODULES]
    axis.barh([name for name, _ in sums], [value for _, value in sums], color=_INSIDE)
    axis.invert_yaxis()
    axis.set_xlabel("ms")
    axis.set_title(f"{profile['title']}: by module of the PyTorch model")


def _threads(content: dict[str, Any]) -> str:
    threads = content["settings"]["threads"]
    return f"{threads} thread{'' if threads == 1 else 's'}"
