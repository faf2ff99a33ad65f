"""Charts as Vega-Lite: each a function from figures to plain JSON data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mobilekit.cli.render.report.themes import SHAPES, VERDICTS

Spec = dict[str, Any]
Point = Mapping[str, Any]
_ROW = 26
"""Pixels of a line of a chart."""
_NAMES = 140
"""Pixels of the longest name beside one."""


def spec(points: Sequence[Point], height: int, **more: Any) -> Spec:
    """Return a chart as wide as its place.

    Args:
        points: Its data.
        height: In pixels, without axes.
        more: Marks and encodings.
    """
    sides = {"width": "container", "height": height, "autosize": {"type": "fit-x", "contains": "padding"}}
    return {**sides, "data": {"values": list(points)}, **more}


def _lines(points: Sequence[Point], field: str) -> int:
    """Return the height of a chart with a line for each name."""
    return _ROW * len({each[field] for each in points})


def tooltip(**titles: str) -> list[Spec]:
    """Return what is shown beside the pointer: fields with their titles."""
    return [{"field": name, "title": title} for name, title in titles.items()]


def drift(points: Sequence[Point]) -> Spec:
    """Return the distance of each stage from the reference on a logarithmic axis, and the limit of each.

    Args:
        points: Dicts of `stage`, `error` (relative L2; 0 is written at the left end), `limit` (on the same axis; None
            where it has no place there), `verdict`, and `shown_error` and `shown_limit`, both in words.
    """
    low, high = decades([each[name] for each in points for name in ("error", "limit")])
    placed = [{**each, "place": max(each["error"], low), **_zero(each)} for each in points]
    x = {"type": "quantitative", "scale": {"type": "log", "domain": [low, high]}}
    axis = {"format": ".0e", "values": powers(low, high), "labelOverlap": True}
    shown = tooltip(stage="stage", shown_error="relative L2", shown_limit="limit", verdict="verdict")
    dot = {
        "transform": [{"filter": "datum.error > 0"}],
        "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
        "encoding": {
            "x": {"field": "place", **x, "title": "relative L2 from PyTorch", "axis": axis},
            "color": _by_verdict("ordinal"),  # the theme's colors of that name
            "shape": _by_verdict(SHAPES),
            "tooltip": shown,
        },
    }
    room = {
        "mark": {"type": "rule", "strokeDash": [2, 3]},
        "encoding": {"x": {"field": "place", **x}, "x2": {"field": "limit"}},
    }
    end = {
        "mark": {"type": "tick", "thickness": 3, "size": 16},
        "encoding": {"x": {"field": "limit", **x}, "tooltip": shown},
    }
    zero = {
        "mark": {"type": "text", "align": "left", "dx": 2, "fontWeight": "bold"},
        "encoding": {
            "x": {"field": "place", **x},
            "text": {"field": "zero", "type": "nominal"},
            "color": _by_verdict("ordinal"),
            "tooltip": shown,
        },
    }
    layers = [*_where_valid("limit", placed, room, end), dot, *_where_valid("zero", placed, zero)]
    order = {"scale": {"domain": [each["stage"] for each in points]}}  # or it would be that of what the first layer has
    return spec(placed, _lines(placed, "stage"), encoding={"y": {**_names("stage"), **order}}, layer=layers)


def _zero(point: Point) -> Point:
    """Return what stands for an error of 0, which has no place on the axis, and nor has the limit of another metric."""
    if point["error"] > 0:
        return {}
    return {"zero": "0" if point["limit"] else f"0 (limit: {point['shown_limit']})"}


def _by_verdict(values: object) -> Spec:
    return {"field": "verdict", "type": "nominal", "legend": None, "scale": {"domain": VERDICTS, "range": values}}


def latencies(points: Sequence[Point]) -> Spec:
    """Return medians with their intervals, and a faint tick for each round.

    Args:
        points: Dicts of `file`, `median`, `low`, `high` and `raw` (a list), in ms, and `shown`, the first in words.
    """
    x = {"type": "quantitative", "scale": {"zero": True, "nice": True}}
    shown = tooltip(file="file", shown="median (interval)")
    layers = [
        {
            "transform": [{"flatten": ["raw"]}],
            "mark": {"type": "tick", "opacity": 0.35, "thickness": 1},
            "encoding": {"x": {"field": "raw", **x}},
        },
        {
            "mark": {"type": "rule", "strokeWidth": 3},
            "encoding": {"x": {"field": "low", **x}, "x2": {"field": "high"}, "tooltip": shown},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
            "encoding": {
                "x": {"field": "median", **x, "title": "ms", "axis": {"tickCount": 6}},
                "tooltip": shown,
            },
        },
    ]
    return spec(points, _lines(points, "file"), encoding={"y": _names("file")}, layer=layers)


def bars(points: Sequence[Point], title: str) -> Spec:
    """Return parts of a whole as bars.

    Args:
        points: Dicts of `part`, `value` and `shown`, the value in words.
        title: Of the axis.
    """
    x = {"field": "value", "type": "quantitative"}
    axis = {"title": title, "axis": {"labels": False, "ticks": False, "grid": False, "domain": False}}
    layers = [
        {"mark": "bar", "encoding": {"x": {**x, **axis}}},
        {"mark": {"type": "text", "align": "left", "dx": 4}, "encoding": {"x": x, "text": {"field": "shown"}}},
    ]
    encoding = {"y": _names("part"), "tooltip": tooltip(part="part", shown=title)}
    return spec(points, _lines(points, "part"), encoding=encoding, layer=layers)


def depth(points: Sequence[Point], stages: Sequence[str], title: str) -> Spec:
    """Return errors inside a model as lines over its depth, one for each stage.

    Args:
        points: Dicts of `place`, `module`, `stage`, `error`, above 0, and perhaps `expected`, what the format brings.
        stages: All of them, so that each has one color in several charts.
        title: Of the axis.
    """
    low, high = decades([point.get(name) for point in points for name in ("error", "expected")])
    ticks = {"tickMinStep": 1, "tickCount": 7}
    x = {"field": "place", "type": "quantitative", "axis": ticks, "title": "depth: values as they are computed"}
    axis = {"format": ".0e", "values": powers(low, high)}
    y = {"type": "quantitative", "scale": {"type": "log", "domain": [low, high]}, "axis": axis}
    legend = {"orient": "top", "columns": 2, "title": None}
    color = {"field": "stage", "type": "nominal", "scale": {"domain": stages}, "legend": legend}
    shown = [*tooltip(module="module", stage="stage"), {"field": "error", "title": title, "format": ".1e"}]
    expected = {
        "mark": {"type": "line", "strokeDash": [2, 3], "strokeWidth": 1},
        "encoding": {"y": {"field": "expected", **y}},
    }
    found = {
        "mark": {"type": "line", "strokeWidth": 1.5, "point": {"size": 14}},
        "encoding": {"y": {"field": "error", **y, "title": title}, "tooltip": shown},
    }
    layers = [*_where_valid("expected", points, expected), found]
    return spec(points, 300, encoding={"x": x, "color": color}, layer=layers)


def scatter(x: Spec, y: Spec, shown: list[Spec]) -> Spec:
    """Return files as points between two figures, with the intervals of latencies; its data come from the page.

    Args:
        x: Field, title and scale of the one; `low` and `high` may name the fields of its interval.
        y: Of the other.
        shown: As `tooltip` returns it.
    """
    low, high = x.get("low"), x.get("high")
    across, up = _quantity(x, tickCount=7), _quantity(y)
    legend = {"orient": "bottom", "columns": 2, "symbolOpacity": 1, "labelLimit": 300}
    color = {"field": "model", "type": "nominal", "legend": {**legend, "title": "model"}}
    shape = {"field": "precision", "type": "nominal", "legend": {**legend, "title": "precision"}}
    opacity = {"condition": {"test": "datum.pareto", "value": 1}, "value": 0}
    interval: list[Spec] = []
    if low and high:
        sides: Spec = {"x": {**across, "field": low}, "x2": {"field": high}, "color": color}
        valid = {"filter": f"isValid(datum.{low})"}
        interval = [{"transform": [valid], "mark": {"type": "rule", "opacity": 0.6}, "encoding": sides}]
    points = {
        "mark": {"type": "point", "size": 130, "strokeWidth": 2, "filled": False},
        "encoding": {"x": across, "color": color, "shape": shape, "tooltip": shown},
    }
    filled = {
        "mark": {"type": "point", "size": 130, "filled": True},
        "encoding": {"x": across, "color": color, "shape": shape, "opacity": opacity, "tooltip": shown},
    }
    return spec([], 380, encoding={"y": up}, layer=[*interval, points, filled])


def _where_valid(field: str, points: Sequence[Point], *layers: Spec) -> list[Spec]:
    """Return layers for the points that have a figure; none where no point has, as there would be no axis for them."""
    if all(each.get(field) is None for each in points):
        return []
    return [{"transform": [{"filter": f"isValid(datum.{field})"}], **layer} for layer in layers]


def _quantity(axis: Spec, **ticks: int) -> Spec:
    shown = {"title": axis["title"], "scale": axis["scale"], "axis": {**ticks, **axis.get("axis", {})}}
    return {"field": axis["field"], "type": "quantitative", **shown}


def _names(field: str) -> Spec:
    axis = {"labelLimit": _NAMES, "title": None, "ticks": False, "domain": False, "labelPadding": 6}
    return {"field": field, "type": "nominal", "sort": None, "axis": axis}


def decades(values: Iterable[float | None]) -> tuple[float, float]:
    """Return the powers of ten around the positive values, with room on both sides."""
    there = [each for each in values if each and math.isfinite(each) and each > 0]
    if not there:
        return 1e-8, 1.0
    return 10.0 ** (math.floor(math.log10(min(there))) - 1), 10.0 ** (math.floor(math.log10(max(there))) + 1)


def powers(low: float, high: float) -> list[float]:
    """Return the powers of ten from one to another."""
    return [10.0**power for power in range(round(math.log10(low)), round(math.log10(high)) + 1)]
