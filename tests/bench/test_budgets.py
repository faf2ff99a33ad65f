"""Budgets: what their file may say, and when an artifact keeps to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.bench.budgets import Budget, FileCost, check, hold, idle_budgets, load_budgets, parse_budgets
from mobilekit.bench.statistics import summarize
from mobilekit.errors import UsageError

TEXT = """\
budgets:
  - device: "Pixel*"
    file: ghostnetv2/*
    precision: int8
    latency_ms: 12
    memory_mb: 60.5
  - size_mb: 8
"""
ROUNDS = [9.9, 10.0, 10.1, 9.8, 10.2, 10.05, 9.95]  # its interval is 9.8 to 10.2
MEASURED = FileCost("ghostnetv2/model.int8.tflite", "int8", summarize(ROUNDS), memory_mb=40.0, size_mb=7.5)


def test_a_file_is_read_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "budgets.yaml"
    path.write_text(TEXT)
    assert load_budgets(path) == (
        Budget(device="Pixel*", file="ghostnetv2/*", precision="int8", latency_ms=12, memory_mb=60.5),
        Budget(size_mb=8),
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("latency_ms", "latncy_ms", "b.yaml:5: unknown key latncy_ms. Did you mean latency_ms?"),
        ("budgets:", "budget:", "b.yaml:1: unknown key budget. Did you mean budgets?"),
        ("latency_ms: 12", "latency_ms: -1", "b.yaml:5: budgets.0.latency_ms: Input should be greater than 0, not -1."),
        ("latency_ms: 12", "latency_ms: .nan", "b.yaml:5: budgets.0.latency_ms"),
        ("latency_ms: 12", "latency_ms: .inf", "b.yaml:5: budgets.0.latency_ms"),
        ("latency_ms: 12", "latency_ms: 12 ms", "b.yaml:5: budgets.0.latency_ms"),
        ("latency_ms: 12", "latency_ms: true", "b.yaml:5: budgets.0.latency_ms"),
        ("precision: int8", "precision: [int8]", "b.yaml:4: budgets.0.precision"),
        ("size_mb: 8", "device: '*'", "b.yaml:7: budgets.1: it limits nothing: give latency_ms, "),
        ("    memory_mb", "    latency_ms", "b.yaml:6: the key latency_ms stands twice."),
        ("- size_mb: 8", "- [", "not valid YAML"),
        (TEXT, "", "b.yaml:1: the file: "),
        (TEXT, "12", "b.yaml:1: the file: "),
        (
            TEXT,
            "budgets: 12",
            "b.yaml:1: budgets: write it as a list of entries, each with some of the keys device, file, ",
        ),
        (TEXT, "1: 2", "b.yaml:1: "),
        (TEXT, "\x00", "not valid YAML"),
    ],
)
def test_errors_name_the_line_and_the_nearest_key(old: str, new: str, said: str) -> None:
    assert old in TEXT
    with pytest.raises(UsageError) as caught:
        parse_budgets(TEXT.replace(old, new), "b.yaml")
    assert said in caught.value.what


def test_files_that_cannot_be_read_are_usage_errors(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing.yaml", tmp_path, binary):
        with pytest.raises(UsageError, match="Cannot read"):
            load_budgets(path)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert isinstance(parse_budgets(text, "b.yaml"), tuple)
    except UsageError as error:
        assert "b.yaml" in error.what


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [
        (9.7, "fail"),
        (9.8, "inconclusive"),
        (10.0, "inconclusive"),
        (10.19, "inconclusive"),
        (10.2, "pass"),
        (20, "pass"),
    ],
)
def test_a_latency_is_held_to_its_limit_by_its_interval(limit: float, verdict: str) -> None:
    (result,) = check([Budget(latency_ms=limit)], MEASURED, "Pixel 8")
    assert (result.verdict, result.figure, result.limit, result.limited) == (verdict, 10.0, limit, "latency_ms")
    assert "9.8 to 10.2 ms" in result.why


def test_few_rounds_tell_nothing_of_a_latency() -> None:
    few = FileCost("a", "int8", summarize(ROUNDS[:5]))
    for limit in (1, 100):
        (result,) = check([Budget(latency_ms=limit)], few, "x")
        assert result.verdict == "inconclusive"
        assert "5 rounds have no 95 % interval" in result.why


@pytest.mark.parametrize(("name", "figure"), [("memory_mb", 40.0), ("size_mb", 7.5)])
def test_memory_and_size_are_held_to_their_limits(name: str, figure: float) -> None:
    for limit, verdict in ((figure, "pass"), (figure - 0.01, "fail"), (figure + 1, "pass")):
        (result,) = check([Budget.model_validate({name: limit})], MEASURED, "x")
        assert (result.limited, result.figure, result.verdict) == (name, figure, verdict)


def test_what_was_not_measured_is_not_passed() -> None:
    results = check([Budget(latency_ms=1, memory_mb=1, size_mb=1)], FileCost("a", "int8"), "x")
    assert [(result.verdict, result.figure) for result in results] == [("inconclusive", None)] * 3
    assert json.loads(json.dumps(results[0].to_json()))["why"] == "it was not measured"


@pytest.mark.parametrize(
    ("device", "file", "precision", "covered"),
    [
        ("*", "*", "*", True),
        ("Pixel*", "ghostnetv2/*", "int8", True),
        ("Pixel ?", "*.int8.tflite", "int?", True),
        ("pixel*", "*", "*", False),
        ("Pixel", "*", "*", False),
        ("*", "ghostnet/*", "*", False),
        ("*", "*", "float*", False),
    ],
)
def test_patterns_choose_what_a_budget_covers(device: str, file: str, precision: str, covered: bool) -> None:
    budget = Budget(device=device, file=file, precision=precision, size_mb=1)
    assert len(check([budget], MEASURED, "Pixel 8")) == covered


def test_every_limit_of_every_covering_budget_is_checked() -> None:
    results = check(parse_budgets(TEXT, "b.yaml"), MEASURED, "Pixel 8")
    assert [(each.limited, each.verdict) for each in results] == [
        ("latency_ms", "pass"),
        ("memory_mb", "pass"),
        ("size_mb", "pass"),
    ]
    assert [each.limited for each in check(parse_budgets(TEXT, "b.yaml"), MEASURED, "Galaxy")] == ["size_mb"]


def test_budgets_that_cover_nothing_are_told() -> None:
    misspelled, elsewhere, used = (
        Budget(file="gostnet/*", size_mb=1),
        Budget(device="Galaxy*", file="gostnet/*", size_mb=1),
        Budget(size_mb=1),
    )
    assert idle_budgets([misspelled, elsewhere, used], [MEASURED], "Pixel 8") == [misspelled]
    assert hold([elsewhere], [MEASURED], "Pixel 8") == ((), ("No budget is for Pixel 8: they gate nothing here.",))
    verdicts, notes = hold([elsewhere, used], [MEASURED], "Pixel 8")
    assert len(verdicts) == 1 and notes == ()


def test_a_part_that_a_file_has_not_is_told_with_those_that_it_has() -> None:
    counted = FileCost("a/model.int8.tflite", "int8", instructions=9, kinds={"depthwise": 4}, modules={"stem": 5})
    [verdict] = check([Budget(instructions=10, kind="depthwize")], counted, "Cortex-A76")
    assert (verdict.verdict, verdict.why) == ("inconclusive", "the file has no kind depthwize; it has depthwise")
    [verdict] = check([Budget(instructions=10, module="sten")], counted, "Cortex-A76")
    assert verdict.why == "the file has no module sten; it has stem"
