"""The rows of a sweep, and which files no other beats."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilekit.store.jsonable import Jsonable
from mobilekit.sweep.folder import SweepFolder, read_sweep_note
from mobilekit.sweep.query import IMPORTED, Row, latest, sort, where
from mobilekit.sweep.rows import read_rows

_OWN_REFERENCE = (
    "Quality is the distance from each model's own reference, as the inputs have no labels: it tells number formats of "
    "one model apart, and not models."
)
_IMPORTED = (
    "Rows with i were measured by others, without our rounds: they have no interval, and are no candidates for *."
)
_UNTRAINED = "Weights are random ones: what is said of accuracy means nothing."


@dataclass(frozen=True)
class ShownSweep(Jsonable):
    """Rows of a sweep."""

    sweep: str
    rows: tuple[Mapping[str, Any], ...]
    """By the columns of the dataset, with `pareto`: whether no other of these rows on its device beats it."""
    notes: tuple[str, ...]
    """What the user must know."""


def show(folder: Path, conditions: Sequence[str] = (), order: str | None = None) -> ShownSweep:
    """Return the rows of a sweep that meet conditions, with the Pareto set among them.

    Raises:
        ToolError: A file of rows is damaged.
        UsageError: The folder is no sweep, or a condition is none.
    """
    read_sweep_note(folder)
    kept = read_rows(SweepFolder(folder).rows)
    last = latest(kept)
    rows = where(last, conditions)
    best = {id(row) for group in _by_device(rows) for row in pareto(group)}
    shown = [{**row, "ended": row["ended"].isoformat(), "pareto": id(row) in best} for row in rows]
    ours = [row for row in rows if row["source"] != IMPORTED]
    good = [row for row in ours if row["status"] == "ok"]
    notes = [_OWN_REFERENCE] if any(row["top1"] is None for row in good) else []
    notes += [_UNTRAINED] if any(row["trained"] is False for row in good) else []
    notes += [_IMPORTED] if len(ours) < len(rows) else []
    earlier = len(kept) - len(last)
    notes += (
        [f"Of files that were run again the last rows are shown; {folder}/rows has {earlier} more."] if earlier else []
    )
    return ShownSweep(str(folder), tuple(sort(shown, order)), tuple(notes))


def _by_device(rows: Iterable[Row]) -> list[list[Row]]:
    """Return rows whose latencies can be compared: of one device, as it calls itself."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["device"], row["device_model"]), []).append(row)
    return list(groups.values())


def pareto(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that no other beats: none is better in something and worse in nothing.

    What counts is the size, the latency where files were timed, and the quality: top-1 where all have it, or else the
    relative L2 distance from the reference. Of two latencies one is better where its whole interval lies below the
    other's; with too few rounds for an interval, it is neither better nor worse than any. A file that failed, is
    outside its limits, or is computed wrongly by a target that was asked, is no candidate; nor is what others measured.
    """
    good = [row for row in rows if _is_good(row)]
    labeled = all(row["top1"] is not None for row in good)
    timed = any(row["latency_ms"] is not None for row in good)
    candidates = [row for row in good if not timed or row["latency_ms"] is not None]
    points = [_point(row, labeled) for row in candidates]
    return [
        row for row, point in zip(candidates, points, strict=True) if not any(_beats(other, point) for other in points)
    ]


def _is_good(row: Row) -> bool:
    is_whole = (
        row["source"] != IMPORTED
        and row["status"] == "ok"
        and row["parity"] != "fail"
        and row["size_bytes"] is not None
    )
    return is_whole and not any(json.loads(answer).get("wrong") for answer in row["targets"] or ())


Span = tuple[float, float]


def _point(row: Row, labeled: bool) -> tuple[Span, ...]:
    """Return where a row lies on each axis, from a lower to an upper end; less is better."""
    most = float("inf")
    quality = -row["top1"] if labeled else row["relative_l2"] if row["relative_l2"] is not None else most
    size = float(row["size_bytes"])
    low, high = row["latency_low_ms"], row["latency_high_ms"]
    latency = (-most, most) if low is None else (low, high)  # of which none is better or worse
    return (quality, quality), (size, size), latency


def _beats(one: Sequence[Span], other: Sequence[Span]) -> bool:
    worse = any(a[0] > b[1] for a, b in zip(one, other, strict=True))
    return not worse and any(a[1] < b[0] for a, b in zip(one, other, strict=True))
