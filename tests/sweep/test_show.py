"""What a sweep shows: rows by conditions, and those that no other beats."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.errors import UsageError
from mobilekit.sweep.compare import compare
from mobilekit.sweep.query import sort, where
from mobilekit.sweep.show import pareto, show
from tests.sweep.rows_by_hand import row, sweep_of

ROWS = [
    row("a", "float32", [5.0, 6.0], size_bytes=4000, relative_l2=1e-6),
    row("a", "int8", [2.0, 3.0], size_bytes=1000, relative_l2=0.1),
    row("b", "int8", [4.0, 5.0], size_bytes=1500, relative_l2=0.2),
    row("c", "int8", status="failed", reason="why", size_bytes=None, relative_l2=None, trained=True),
]
CONDITIONS = {
    "precision=int8": [1, 2, 3],
    "model=a,b": [0, 1, 2],
    "model != a": [2, 3],
    "latency_ms<6": [1, 2],
    "latency_low_ms>=4": [0, 2],
    "size_bytes=1500": [2],
    "trained=true": [3],
    "status=failed": [3],
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditions(condition: str) -> None:
    assert where(ROWS, [condition]) == [ROWS[place] for place in CONDITIONS[condition]]


def test_several_conditions_all_hold() -> None:
    assert where(ROWS, ["precision=int8", "latency_ms>3"]) == [ROWS[2]]


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("precison=int8", "no column precison"),
        ("precision", "is no condition"),
        ("model<a", "model is no number"),
        ("latency_ms<fast", "'fast' is no value of latency_ms"),
        ("raw_ms=1", "no column raw_ms"),
    ],
)
def test_what_is_no_condition_is_refused(condition: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        where(ROWS, [condition])


def test_rows_without_a_value_come_last_whichever_way() -> None:
    assert [each["size_bytes"] for each in sort(ROWS, "size_bytes")] == [1000, 1500, 4000, None]
    assert [each["size_bytes"] for each in sort(ROWS, "-size_bytes")] == [4000, 1500, 1000, None]


def test_the_pareto_set_by_hand() -> None:
    """What b has is larger, slower beyond doubt and further off than a's int8; a's float32 is the nearest."""
    assert pareto(ROWS) == ROWS[:2]


def test_a_latency_beats_another_only_where_the_intervals_are_apart() -> None:
    fast, slower = row("a", raw_ms=[1.0, 2.0]), row("b", raw_ms=[1.9, 3.0])
    assert pareto([fast, slower]) == [fast, slower]
    assert pareto([fast, row("b", raw_ms=[2.1, 3.0])]) == [fast]


def test_a_latency_without_an_interval_is_neither_better_nor_worse() -> None:
    none: dict[str, Any] = {"latency_low_ms": None, "latency_high_ms": None}
    fast, slow, unsure = row("a", raw_ms=[1.0, 2.0]), row("b", raw_ms=[8.0, 9.0]), row("c", raw_ms=[5.0], **none)
    assert pareto([fast, unsure]) == [fast, unsure]
    assert pareto([slow, unsure]) == [slow, unsure]
    assert pareto([row("a", raw_ms=[1.0], size_bytes=999, **none), unsure])[0]["model"] == "a"
    assert unsure not in pareto([row("a", raw_ms=[9.0], size_bytes=999, **none), unsure])


def test_a_file_that_a_target_computes_wrongly_is_no_candidate() -> None:
    answer = {"target": "gpu", "taken": 127, "total": 127, "whole": False}
    wrong = {**answer, "wrong": [{"op": "ADD", "count": 31, "words": "w"}]}
    bad, good = row("a", size_bytes=1, targets=[json.dumps(wrong)]), row("b", targets=[json.dumps(answer)])
    assert pareto([bad, good]) == [good]


def test_a_file_outside_its_limits_is_no_candidate() -> None:
    assert pareto([row("a", parity="fail", size_bytes=1), row("b")]) == [row("b")]


def test_labels_decide_over_the_distance_where_all_have_them() -> None:
    right, near = row("a", top1=0.9, relative_l2=0.5), row("b", top1=0.8, relative_l2=0.1)
    assert pareto([right, near]) == [right]
    assert pareto([{**right, "top1": None}, near]) == [near]


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2)), min_size=1))
def test_each_row_outside_the_set_is_beaten_and_none_inside(points: list[tuple[int, int, int, int]]) -> None:
    """Against the definition in plain words, for whole figures."""
    rows = [
        row(str(place), raw_ms=[low, low + width], size_bytes=size, relative_l2=float(off))
        for place, (size, off, low, width) in enumerate(points)
    ]

    def beaten(mine: tuple[int, int, int, int], by: tuple[int, int, int, int]) -> bool:
        slower, faster = by[2] > mine[2] + mine[3], by[2] + by[3] < mine[2]
        worse = by[0] > mine[0] or by[1] > mine[1] or slower
        return not worse and (by[0] < mine[0] or by[1] < mine[1] or faster)

    inside = [each for each, point in zip(rows, points, strict=True) if not any(beaten(point, by) for by in points)]
    assert pareto(rows) == inside
    assert inside


def test_files_of_two_devices_are_not_compared(tmp_path: Path) -> None:
    rows = [row("a", raw_ms=[1.0, 2.0]), row("b", raw_ms=[8.0, 9.0], device="adb:X", device_model="Pixel")]
    assert [each["pareto"] for each in show(sweep_of(tmp_path / "s", rows)).rows] == [True, True]


def test_what_means_little_is_said(tmp_path: Path) -> None:
    notes = " ".join(show(sweep_of(tmp_path / "s", [row("a", trained=False)])).notes)
    assert "own reference" in notes and "random ones" in notes
    assert show(sweep_of(tmp_path / "t", [row("a", trained=True, top1=0.9)])).notes == ()


def test_of_a_file_that_was_run_again_the_last_row_is_shown(tmp_path: Path) -> None:
    """As after a change of the model's code: the sweep has the rows of the cell before it, too."""
    later = datetime(2026, 1, 2, tzinfo=UTC)
    rows = [row("a", raw_ms=[1.0], cell="0"), row("a", raw_ms=[2.0], cell="1", ended=later), row("a", cell="2")]
    shown = show(sweep_of(tmp_path / "s", rows))
    assert [(each["device"], each["latency_ms"]) for each in shown.rows] == [(None, None), ("local", 2.0)]
    assert any(note.endswith("s/rows has 1 more.") for note in shown.notes)
    compared = compare(sweep_of(tmp_path / "t", rows[:1]), tmp_path / "s").files
    assert [(each.device, len(each.aspects)) for each in compared if each.verdict != "new"] == [("local", 2)]


def test_what_is_no_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a sweep"):
        show(tmp_path)
