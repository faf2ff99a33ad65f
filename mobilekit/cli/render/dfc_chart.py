"""DFC attention's kernel sizes as a picture: error and drift for each way to fit, and the multiply-accumulates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mobilekit.cli.render.plots import save


def draw_dfc(content: dict[str, Any], path: Path) -> None:
    """Draw the table of `mobilekit rewrites explain MODEL --rewrite dfc`.

    Args:
        content: As its JSON.
        path: The picture, .png or .svg.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    errors, macs = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    rows = content["rows"]
    kernels = list(dict.fromkeys(row["kernel_size"] for row in rows))
    for index, fit in enumerate(dict.fromkeys(row["fit"] for row in rows)):
        own = [row for row in rows if row["fit"] == fit]
        for name, style, label in (("error", "o-", "the maps' error"), ("drift", "s--", "the outputs' drift")):
            values = [float("nan") if row[name] is None else row[name] for row in own]
            errors.plot(kernels, values, style, color=f"C{index}", label=f"{label}, {fit}")
    errors.set(ylim=(0, None), ylabel="relative L2", title=f"DFC attention of {content['model']} as convolutions")
    errors.legend(fontsize="small")
    by_kernel = {row["kernel_size"]: row["macs"] / 1e6 for row in rows}
    macs.bar(kernels, [by_kernel[kernel] for kernel in kernels], width=1.0, color="#8c8c8c")
    macs.axhline(content["fully_connected_macs"] / 1e6, color="#c44e52", linestyle="--", label="fully connected")
    macs.set(xlabel="taps K", ylabel="MACs of all maps, M", xticks=kernels)
    macs.legend(fontsize="small")
    save(figure, path)
