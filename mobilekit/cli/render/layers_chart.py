"""Error over depth as a picture: a line a stage, against the reference and against the stage before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mobilekit.cli.render.layers import is_rounded
from mobilekit.cli.render.plots import save
from mobilekit.parity.layers.result import Layers, StageLayers, TensorError
from mobilekit.store.stages import Stage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = {
    Stage.REWRITTEN: "#7f7f7f",
    Stage.ONNX: "#17becf",
    Stage.ONNX_SIMPLIFIED: "#1f77b4",
    Stage.TFLITE_FLOAT32: "#2ca02c",
    Stage.TFLITE_FLOAT16: "#9467bd",
    Stage.TFLITE_DYNAMIC: "#ff7f0e",
    Stage.TFLITE_INT8: "#d62728",
    Stage.TFLITE_INT16X8: "#e377c2",
}
_TICKS = 24
_SIZE = (13.0, 8.5)  # inches


def draw_layers(layers: Layers, path: Path, title: str) -> None:
    """Draw the values inside.

    Args:
        layers: What was measured.
        path: The plot, .png or .svg.
        title: What was measured.
    """
    save(_figure(layers, title), path)


def _figure(layers: Layers, title: str) -> Figure:
    from matplotlib.figure import Figure

    modules = [tap.module for tap in layers.taps]
    figure = Figure(figsize=_SIZE, layout="constrained")
    totals, steps = figure.subplots(2, 1, sharex=True)
    for stage in layers.measured:
        color, style = _COLORS.get(stage.stage.on_host, "black"), "--" if stage.stage.is_on_device else "-"
        _line(totals, [row.total for row in stage.rows], color, style, stage.stage)
        _line(steps, [row.step for row in stage.rows], color, style, f"{stage.stage} against {stage.against}")
        if is_rounded(stage):
            expected = [row.expected for row in stage.rows]
            steps.plot(expected, color=color, linewidth=0.8, linestyle=":")
        _mark_jump(steps, stage, color)
    steps.plot([], [], color="black", linewidth=0.8, linestyle=":", label="what the format does by itself")
    on = f"{layers.inputs.count} inputs ({layers.inputs.real})"
    totals.set_title(f"{title}: error inside the model, on {on}".replace("$", r"\$"))
    totals.set_ylabel("relative L2 against the reference")
    steps.set_ylabel("relative L2 against the stage before")
    for axis in (totals, steps):
        axis.set_yscale("log")
        axis.grid(visible=True, which="major", alpha=0.3)
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small", frameon=False)
    places = tick_places(modules)
    steps.set_xlim(-1, len(modules))
    steps.set_xticks(places, [_block(modules[place]) for place in places], rotation=60, ha="right", fontsize="small")
    steps.set_xlabel("depth: values in the order in which they are computed")
    return figure


def _line(axis: Axes, errors: Sequence[TensorError | None], color: str, style: str, label: str) -> None:
    """Draw a line over the values that have a counterpart and differ from it; a logarithm has no place for 0."""
    points = [
        (place, error.relative_l2)
        for place, error in enumerate(errors)
        if error and error.relative_l2 and math.isfinite(error.relative_l2)
    ]
    if not points:
        axis.plot([], [], color=color, linestyle=style, label=f"{label}: equal")
        return
    places, values = zip(*points, strict=True)
    marker = "." if len(points) < 2 else None
    axis.plot(places, values, color=color, linewidth=1.2, linestyle=style, marker=marker, label=label, alpha=0.9)


def _mark_jump(axis: Axes, stage: StageLayers, color: str) -> None:
    """Point at the first value whose error is more than the format explains."""
    place, row = next(((place, row) for place, row in enumerate(stage.rows) if row.jumps), (0, None))
    value = row.step.relative_l2 if row and row.step else math.nan
    if row and math.isfinite(value):
        axis.plot([place], [value], "o", color=color, markersize=8, fillstyle="none")
        text = f"jump at {row.module}".replace("$", r"\$")
        side = 1 if place < len(stage.rows) / 2 else -1  # where there is room
        axis.annotate(
            text,
            (place, value),
            (8 * side, 8),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            fontsize="small",
            color=color,
        )


def tick_places(modules: Sequence[str], most: int = _TICKS) -> list[int]:
    """Return where the blocks of a model begin; where they are short, only those whose names do not overlap."""
    places: list[int] = []
    for place, name in enumerate(modules):
        begins = not place or _block(name) != _block(modules[place - 1])
        if begins and (not places or place - places[-1] >= len(modules) / most):
            places.append(place)
    return places


def _block(module: str) -> str:
    """Return the part of a path that names a block: up to its last number among the first four words."""
    words = module.split(".")[:4]
    numbered = [place for place, word in enumerate(words) if word.isdigit()]
    return ".".join(words[: numbered[-1] + 1]) if numbered else words[0]
