"""What a bench is held to: an earlier one's figures, and budgets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mobilekit.bench.baseline import load_baseline
from mobilekit.bench.engine import Run
from mobilekit.bench.gates import Gates
from mobilekit.bench.result import BenchResult
from mobilekit.errors import UsageError
from tests.bench.test_session import FACTS, HOT, make_artifacts, result_of, steady

Benches = Callable[..., BenchResult]


@pytest.fixture
def bench(tmp_path: Path) -> Benches:
    """Make results of n/a, n/b, c and d, whose medians are about 10, 20, 30 and 40 ms times a factor."""
    artifacts = make_artifacts(tmp_path)

    def make(factor: float = 1.0, *states: Any, **changes: Any) -> BenchResult:
        def act(file: Path, times: int) -> Run:
            run = steady(file, times)
            assert run.latency_ms is not None
            return replace(run, latency_ms=factor * run.latency_ms)

        return result_of(artifacts, act, *states, **changes)

    return make


def gates(folder: Path, budgets: str | None = None, *, baseline: Path | None = None, save: Path | None = None) -> Gates:
    if budgets is not None:
        (folder / "budgets.yaml").write_text(budgets)
    return Gates.load(baseline, folder / "budgets.yaml" if budgets is not None else None, save)


def test_without_gates_there_are_no_verdicts(bench: Benches, tmp_path: Path) -> None:
    made = bench()
    gate = gates(tmp_path)
    assert gate.check(made) == made
    assert (made.baseline, made.budgets, made.notes) == (None, None, ())
    gate.save(made)
    gate.check_devices(5)
    assert not list(tmp_path.glob("*.json"))


def test_a_baseline_holds_what_was_measured(bench: Benches, tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    made = bench()
    gates(tmp_path, save=path).save(made)
    kept = load_baseline(path)
    assert kept.device == FACTS
    assert [entry.file for entry in kept.entries] == ["n/a.tflite", "n/b.tflite", "c.tflite", "d.tflite"]
    assert [entry.raw_ms for entry in kept.entries] == [result.raw_ms for result in made.results]
    first = kept.entries[0]
    assert (first.engine, first.statistic, first.threads, first.sha256) == ("script", "median", 1, f"{0:064x}")


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "same"), (1.005, "same"), (1.2, "regressed"), (0.8, "improved")])
def test_the_same_bench_again(bench: Benches, tmp_path: Path, factor: float, verdict: str) -> None:
    path = tmp_path / "base.json"
    gates(tmp_path, save=path).save(bench())
    found = gates(tmp_path, baseline=path).check(bench(factor))
    assert [change.verdict for change in found.baseline or ()] == [verdict] * 4
    assert found.baseline and found.baseline[0].ratio == pytest.approx(factor, rel=0.01)
    assert found.notes == ()
    assert found.fails == (verdict == "regressed")
    json.dumps(found.to_json())


def test_a_baseline_that_compares_with_nothing_is_said(bench: Benches, tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    gates(tmp_path, save=path).save(bench())
    other = bench(5.0, facts=replace(FACTS, model="Phone 6"))
    found = gates(tmp_path, baseline=path).check(other)
    assert {change.verdict for change in found.baseline or ()} == {"not-comparable"}
    assert found.notes == ("No file could be compared with the baseline: it gates nothing here.",)


def test_a_refused_file_is_missing_against_the_baseline(bench: Benches, tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    gates(tmp_path, save=path).save(bench())
    made = bench()
    first, second, *others = made.results
    refused = replace(second, accepted=False, latency_ms=None, why_not="It crashed.")
    found = gates(tmp_path, baseline=path).check(replace(made, results=(first, refused, *others)))
    assert {change.file: change.verdict for change in found.baseline or ()}["n/b.tflite"] == "missing"
    assert found.fails


def test_a_baseline_of_nothing_is_refused(bench: Benches, tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    with pytest.raises(UsageError, match="No run was accepted, so there is no baseline to keep"):
        gates(tmp_path, save=path).save(bench(1.0, HOT))
    assert not path.exists()


def test_a_baseline_of_several_devices_is_refused_before_they_run(tmp_path: Path) -> None:
    gate = gates(tmp_path, save=tmp_path / "base.json")
    gate.check_devices(1)
    with pytest.raises(UsageError, match="A baseline is of one device"):
        gate.check_devices(2)


BUDGETS = """\
budgets:
  - {file: "n/*", latency_ms: 15, size_mb: 3}
  - {device: "Phone 5", file: c.tflite, memory_mb: 4}
  - {device: "Phone 6", latency_ms: 1}
"""


def test_budgets_are_held_per_device_and_file(bench: Benches, tmp_path: Path) -> None:
    rows = gates(tmp_path, BUDGETS).check(bench()).budgets or ()
    told = {(row.file, row.limited): (row.verdict, row.limit) for row in rows}
    assert told == {
        ("n/a.tflite", "latency_ms"): ("pass", 15),
        ("n/a.tflite", "size_mb"): ("pass", 3),
        ("n/b.tflite", "latency_ms"): ("fail", 15),
        ("n/b.tflite", "size_mb"): ("pass", 3),
        ("c.tflite", "memory_mb"): ("fail", 4),
    }
    assert {row.device for row in rows} == {"Phone 5"}


def test_a_budget_that_covers_nothing_is_said(bench: Benches, tmp_path: Path) -> None:
    found = gates(tmp_path, "budgets: [{file: 'm/*', size_mb: 3}]").check(bench())
    assert found.budgets == ()
    assert found.notes == ("The budget for m/* (*) on * covers no file.",)


def test_an_emulated_latency_is_not_held_to_a_budget(bench: Benches, tmp_path: Path) -> None:
    found = gates(tmp_path, "budgets: [{latency_ms: 0.001, size_mb: 0.001}]").check(
        bench(facts=replace(FACTS, emulated=True))
    )
    verdicts = {(row.limited, row.verdict) for row in found.budgets or ()}
    assert verdicts == {("latency_ms", "inconclusive"), ("size_mb", "fail")}
    assert len(found.notes) == 1, "the device's own"


def test_a_refused_file_has_a_size_and_no_latency(bench: Benches, tmp_path: Path) -> None:
    rows = (
        gates(tmp_path, "budgets: [{file: d.tflite, latency_ms: 9, size_mb: 9}]").check(bench(1.0, HOT)).budgets or ()
    )
    assert {(row.limited, row.verdict) for row in rows} == {("latency_ms", "inconclusive"), ("size_mb", "pass")}


@pytest.mark.parametrize("kind", ["baseline", "budgets"])
def test_a_mistake_in_a_file_shows_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    path.write_text("{")
    with pytest.raises(UsageError, match=str(path)):
        Gates.load(path if kind == "baseline" else None, path if kind == "budgets" else None, None)
