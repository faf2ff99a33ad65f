"""The page of a sweep: what no other file beats, as a chart, with filters and a table that sorts."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mobilekit.bench.instructions.result import CountResult
from mobilekit.cli.bench_results import Bench
from mobilekit.cli.render.format import count, figure, instructions, megabytes, ms, percent, some
from mobilekit.cli.render.report import charts
from mobilekit.cli.render.report.marks import Mark, answer_mark
from mobilekit.cli.render.report.page import render
from mobilekit.cli.render.sweep import device_words, model_words
from mobilekit.sweep.query import IMPORTED
from mobilekit.sweep.show import ShownSweep

Row = Mapping[str, Any]
FAILED = "failed"
"""The status of a row that has no result."""
_MOST_NAMED = 4


@dataclass(frozen=True)
class _Axis:
    """A figure that the chart may have on an axis."""

    field: str
    title: str
    scale: Mapping[str, Any]
    format: str = ""
    low: str = ""
    high: str = ""
    """Fields of its interval."""
    values: Sequence[float] = ()
    """Where it has grid lines; anywhere without."""


_LATENCY = _Axis("latency", "latency, ms", {"zero": False, "nice": True}, low="low", high="high")
_SIZE = _Axis("size", "size, MB", {"zero": False, "nice": True})
_TOP1 = _Axis("top1", "top-1, %", {"zero": False, "nice": True})
_SAME = _Axis("same", "same top-1 as PyTorch, %", {"zero": False, "nice": True})


@dataclass(frozen=True)
class _Counted:
    """Instructions on one core."""

    axis: _Axis
    of: Mapping[str, int]
    """By the file's SHA-256."""


@dataclass(frozen=True)
class _Line:
    """A line of the table; its figures are in the point of its number."""

    page: str | None
    """Link to that of its bundle."""
    sign: Mark | None
    """Before those that no other beats, and before those of others: the signs of `sweep show`."""
    cells: tuple[tuple[str, str], ...]
    """Column and text, as `_COLUMNS` has them."""
    parity: Mark
    targets: tuple[Mark, ...]


_COLUMNS = (
    ("size", "size"),
    ("error", "relative L2"),
    ("same", "same top-1, %"),
    ("top1", "top-1, %"),
    ("latency", "ms (95 % interval)"),
)
"""What a line is sorted by, and its heading."""


def sweep_html(name: str, shown: ShownSweep, pages: Mapping[str, str], benches: Sequence[Bench] = ()) -> str:
    """Return the page of a sweep.

    Args:
        name: The sweep's.
        shown: Its rows, with the Pareto set.
        pages: Links to the pages of its bundles, by the bundles' folders.
        benches: Counts of instructions are shown beside the rows.
    """
    counts = _counts(benches)
    points = [_point(number, row, counts) for number, row in enumerate(shown.rows)]
    columns = [each for each in _COLUMNS if any(point[each[0]] is not None for point in points)]
    columns += [(each.axis.field, each.axis.title) for each in counts]
    across = [axis for axis in (_LATENCY, _SIZE, *(each.axis for each in counts)) if _has(points, axis)]
    up = [axis for axis in (_TOP1, _error(points), _SAME) if _has(points, axis)]
    targets = list(dict.fromkeys(answer["target"] for row in shown.rows for answer in _answers(row)))
    mark, verdict = _verdict(shown.rows)
    return render(
        "sweep.html.j2",
        name=name,
        mark=mark,
        verdict=verdict,
        best=_best(shown.rows),
        notes=shown.notes,
        failed=[row for row in shown.rows if row["status"] == FAILED],
        label=_label,
        columns=columns,
        targets=targets,
        lines=[
            _line(row, point, pages.get(row["bundle"]), columns, targets)
            for row, point in zip(shown.rows, points, strict=True)
        ],
        points=points,
        across=across,
        up=up,
        titles={axis.field: axis.title for axis in (*across, *up)},
        start=_start(shown.rows, points, [*across[:1], *up[:1]]),
        specs={f"{x.field}\n{y.field}": _spec(x, y) for x in across for y in up},
        choices=[
            (field, values)
            for field in ("device", "model", "input", "precision")
            if len(values := list(dict.fromkeys(point[field] for point in points))) > 1
        ],
    )


def _start(rows: Sequence[Row], points: Sequence[Row], axes: Sequence[_Axis]) -> str:
    """Return the device that is shown first: one with rows of our own, in the chart if any is."""
    own = [point for row, point in zip(rows, points, strict=True) if row["source"] != IMPORTED]
    drawn = [point for point in own if all(point[axis.field] is not None for axis in axes)]
    return next((str(point["device"]) for point in (*drawn, *own, *points)), "")


def _counts(benches: Sequence[Bench]) -> list[_Counted]:
    """Return the instructions that were counted on each core."""
    found: dict[str, dict[str, int]] = {}
    for bench in benches:
        if isinstance(bench, CountResult):
            of = {each.sha256: each.count.instructions for each in bench.results if each.count}
            found.setdefault(f"instructions, {bench.core.model}", {}).update(of)
    scale = {"zero": False, "nice": True}
    return [
        _Counted(_Axis(f"count{number}", title, scale, "~s"), of) for number, (title, of) in enumerate(found.items())
    ]


def _error(points: Sequence[Row]) -> _Axis:
    """Return the axis of the distance from PyTorch, which is better the further up."""
    low, high = charts.decades([point["error"] for point in points])
    scale = {"type": "log", "reverse": True, "domain": [low, high]}
    return _Axis("error", "relative L2 from PyTorch", scale, ".0e", values=charts.powers(low, high))


def _has(points: Sequence[Row], axis: _Axis) -> bool:
    return any(point[axis.field] is not None for point in points)


def _point(number: int, row: Row, counts: Sequence[_Counted]) -> dict[str, Any]:
    """Return what the chart, the filters and the sorting know of a row: JSON data."""
    error, same, top1 = row["relative_l2"], row["top1_agreement"], row["top1"]
    device = device_words(row)
    point = {
        "number": number,
        "model": model_words(row),
        "input": row["input_size"] or "",
        "precision": row["precision"],
        "device": f"{device} ({row['device_model']})" if row["device_model"] else device,
        "parity": _outcome(row),
        "pareto": row["pareto"],
        "size": None if row["size_bytes"] is None else row["size_bytes"] / 1e6,
        "error": error if error and math.isfinite(error) else None,  # 0 has no place on a logarithmic axis
        "same": None if same is None else 100 * same,
        "top1": None if top1 is None else 100 * top1,
        "latency": row["latency_ms"],
        "low": row["latency_low_ms"],
        "high": row["latency_high_ms"],
    }
    return {**point, **{each.axis.field: each.of.get(row["sha256"]) for each in counts}}


def _line(row: Row, point: Row, page: str | None, columns: Sequence[tuple[str, str]], targets: Sequence[str]) -> _Line:
    interval = "" if point["low"] is None else f" ({ms(point['low'])} to {ms(point['high'])})"
    texts = {
        "size": None if row["size_bytes"] is None else megabytes(row["size_bytes"]),
        "error": figure(row["relative_l2"]),
        "same": percent(row["top1_agreement"]),
        "top1": percent(row["top1"]),
        "latency": None if point["latency"] is None else f"{ms(point['latency'])}{interval}",
    }
    texts |= {name: instructions(point[name]) for name, _ in columns if name not in texts and point[name] is not None}
    answers = {answer["target"]: answer for answer in _answers(row)}
    return _Line(
        page,
        _sign(row),
        tuple((heading, texts.get(field) or "") for field, heading in columns),
        _parity(point["parity"]),
        tuple(answer_mark(target, answers.get(target)) for target in targets),
    )


def _sign(row: Row) -> Mark | None:
    if row["source"] == IMPORTED:
        return Mark("none", "measured by others", "i")
    return Mark("pass", "beaten by no other", "*") if row["pareto"] else None


def _answers(row: Row) -> list[dict[str, Any]]:
    return [json.loads(answer) for answer in row["targets"] or ()]


def _parity(outcome: str) -> Mark:
    words = {"pass": "within its limits", "fail": "outside its limits", "inconclusive": "unjudged"}
    if outcome in words:
        return Mark(outcome, words[outcome])
    return Mark("fail" if outcome == FAILED else "none", outcome)


def _outcome(row: Row) -> str:
    """Return what came of a row: the verdict on its parity, or in a word why it has none."""
    if row["status"] == FAILED:
        return FAILED
    return IMPORTED if row["source"] == IMPORTED else row["parity"] or "not measured"


def _verdict(rows: Sequence[Row]) -> tuple[Mark, str]:
    found = Counter(map(_outcome, rows))
    exports = len({row["bundle"] for row in rows if row["bundle"]})
    words = {"pass": "within the limits", "fail": "outside", "inconclusive": "unjudged"}
    failed = some(list(dict.fromkeys(_label(row) for row in rows if row["status"] == FAILED)), _MOST_NAMED)
    words[FAILED] = f"failed ({failed})"
    parts = ", ".join(f"{number} {words.get(verdict, verdict)}" for verdict, number in found.items())
    verdict = "pass" if found.keys() - {IMPORTED} == {"pass"} else "inconclusive"
    verdict = "fail" if found[FAILED] or found["fail"] else verdict
    return Mark(verdict, verdict), f"{count(len(rows), 'row')} of {count(exports, 'export')}: {parts or 'nothing yet'}"


def _best(rows: Sequence[Row]) -> str:
    names = list(dict.fromkeys(_label(row) for row in rows if row["pareto"]))
    if not names:
        return ""
    return f"No other on a device beats these in size, latency and quality: {some(names, _MOST_NAMED)}."


def _label(row: Row) -> str:
    return " ".join(filter(None, [model_words(row), row["input_size"], row["precision"]]))


def _spec(x: _Axis, y: _Axis) -> charts.Spec:
    shown = charts.tooltip(
        model="model", input="input", precision="precision", device="device", parity="parity", **{x.field: x.title}
    )
    return charts.scatter(_encoded(x), _encoded(y), [*shown, *charts.tooltip(**{y.field: y.title})])


def _encoded(axis: _Axis) -> charts.Spec:
    form = {"axis": {"format": axis.format, **({"values": axis.values} if axis.values else {})}} if axis.format else {}
    ends = {"low": axis.low, "high": axis.high} if axis.low else {}
    return {"field": axis.field, "title": axis.title, "scale": axis.scale, **form, **ends}
