"""The colors of charts, in the light and in the dark; those of the rest of a page are in `page.css`.

Texts have a contrast of 4.5 or more with their background, and marks of 3 or more (WCAG 2.2, 1.4.3 and 1.4.11).
"""

from __future__ import annotations

from typing import Any

VERDICTS = ("pass", "inconclusive", "fail")
SHAPES = ("circle", "triangle-up", "cross")
"""Of verdicts, so that colors are not all that tells them apart."""


def _theme(ink: str, muted: str, line: str, verdicts: tuple[str, str, str], categories: tuple[str, ...]) -> Any:
    """Return a theme as Vega-Lite's `config`."""
    return {
        "aria": False,  # each chart has words of its own, and a table
        "background": "transparent",
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "axis": {
            "labelColor": ink,
            "titleColor": muted,
            "gridColor": line,
            "domainColor": line,
            "tickColor": line,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
        },
        "legend": {
            "labelColor": ink,
            "titleColor": muted,
            "labelFontSize": 12,
            "titleFontWeight": "normal",
            "layout": {"bottom": {"anchor": "start", "direction": "vertical", "margin": 10}},
        },
        "rule": {"color": muted},
        "tick": {"color": ink},
        "bar": {"color": categories[0]},
        "point": {"color": categories[0]},
        "text": {"color": ink},
        "range": {"category": categories, "ordinal": verdicts},
    }


THEMES = {
    "light": _theme(
        "#1b1d20",
        "#545b64",
        "#d7dbe0",
        ("#18794e", "#9a5b00", "#c0271d"),
        ("#1f6fb2", "#b4560c", "#6b4fbb", "#18794e", "#b3306e", "#6b6b00", "#00707a", "#8a4b32", "#545b64", "#c0271d"),
    ),
    "dark": _theme(
        "#e7e9ec",
        "#a9b0b8",
        "#3a3f45",
        ("#6fd19a", "#f0b45b", "#ff8f85"),
        ("#79b8f2", "#f2a365", "#b9a4f5", "#6fd19a", "#f08ab8", "#cfcf6a", "#5fd0da", "#d6a28c", "#a9b0b8", "#ff8f85"),
    ),
}
"""By the names of `prefers-color-scheme`."""
