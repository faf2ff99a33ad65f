"""The trade-off of an int8 file's error against what stays in float, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mobilekit.cli.render.plots import save


def draw_search(content: dict[str, Any], path: Path) -> None:
    """Draw the choices of `mobilekit quantize-search`.

    Args:
        content: As its JSON.
        path: The picture, .png or .svg.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axis = figure.subplots()
    points, files = content["points"], content["files"]
    costs = {_choice(point): 100 * point["cost"] for point in points}
    axis.plot(list(costs.values()), [p["cosine"] for p in points], "o-", label="imitated, calibration inputs")
    places = [costs[_choice(file)] for file in files]
    axis.plot(places, [f["cosine"] for f in files], "s", color="#c44e52", label="int8 file, evaluation inputs")
    axis.axhline(content["limit"], color="gray", linestyle="--", label="limit")
    for point in points[1:]:
        axis.annotate(
            point["added"], (100 * point["cost"], point["cosine"]), (4, -4), textcoords="offset points",
            fontsize="x-small", rotation=-35, va="top", rotation_mode="anchor",
        )  # fmt: skip
    axis.margins(x=0.12, y=0.25)
    axis.set(
        xlabel="cost: % of the arithmetic and the values in float",
        ylabel="smallest cosine",
        title=f"int8 of {content['model']}",
    )
    axis.legend(fontsize="small", loc="lower right")
    save(figure, path)


def _choice(one: dict[str, Any]) -> tuple[str, ...]:
    return (*one["keep_float"], *one["modules"])
