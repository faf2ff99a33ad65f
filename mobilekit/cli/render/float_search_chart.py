"""The trade-off of an int8 file's error against what stays in float, as a plot."""

from __future__ import annotations

from pathlib import Path

from mobilekit.cli.render.plots import save
from mobilekit.jobs.quantize_search.job import SearchResult


def draw_search(found: SearchResult, path: Path) -> None:
    """Draw the choices of `mobilekit quantize-search`.

    Args:
        found: What was tried.
        path: The plot, .png or .svg.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axis = figure.subplots()
    simulated = [(100 * point.cost, point.cosine) for point in found.points]
    files = [(100 * point.cost, found.file_of(point.int8)) for point in found.points]
    made = [(cost, file.cosine) for cost, file in files if file]
    axis.plot(*zip(*simulated, strict=True), "o-", label="simulated, calibration inputs")
    axis.plot(*zip(*made, strict=True), "s", color="#c44e52", label="int8 file, evaluation inputs")
    axis.axhline(found.limit, color="gray", linestyle="--", label="limit")
    for point, place in list(zip(found.points, simulated, strict=True))[1:]:
        axis.annotate(
            point.added, place, (4, -4), textcoords="offset points",
            fontsize="x-small", rotation=-35, va="top", rotation_mode="anchor",
        )  # fmt: skip
    axis.margins(x=0.12, y=0.25)
    axis.set(
        xlabel="cost: % of the arithmetic and the values in float",
        ylabel="smallest cosine",
        title=f"int8 of {found.model}",
    )
    axis.legend(fontsize="small", loc="lower right")
    save(figure, path)
