"""Two sweeps, file by file: only what the figures support is a change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mobilekit.errors import UsageError
from mobilekit.sweep.compare import ComparedSweeps, compare
from tests.cli.test_schema import check_closely
from tests.conftest import Cli
from tests.sweep.rows_by_hand import row, sweep_of

pytest.importorskip("pyarrow")

THEN = [10.0 + 0.01 * place for place in range(12)]


def compared(
    folder: Path, then: list[dict[str, Any]], now: list[dict[str, Any]], margin: float = 0.03
) -> ComparedSweeps:
    return compare(sweep_of(folder / "old", then), sweep_of(folder / "new", now), margin)


LATENCIES = {
    "as it was": ([*THEN], "same"),
    "slower by 5 %": ([1.05 * value for value in THEN], "worse"),
    "faster by 5 %": ([value / 1.05 for value in THEN], "better"),
    "slower by 1 %": ([1.01 * value for value in THEN], "same"),
    "slower in some rounds": ([*THEN[:6], *(1.2 * value for value in THEN[6:])], "inconclusive"),
    "too few rounds": ([20.0], "inconclusive"),
}


@pytest.mark.parametrize("case", LATENCIES)
def test_a_latency_is_worse_where_its_whole_interval_is_above_the_margin(case: str, tmp_path: Path) -> None:
    now, verdict = LATENCIES[case]
    found = compared(tmp_path, [row(raw_ms=THEN)], [row(raw_ms=now)])
    [file] = found.files
    assert (file.verdict, found.is_worse) == (verdict, verdict == "worse")
    latency = file.aspects[-1]
    assert (latency.what, latency.verdict) == ("latency", verdict)


def test_the_ratio_is_now_by_then_and_the_margin_is_the_users(tmp_path: Path) -> None:
    now = [1.05 * value for value in THEN]
    [file] = compared(tmp_path, [row(raw_ms=THEN)], [row(raw_ms=now)], margin=0.1).files
    assert file.verdict == "same"
    assert file.aspects[-1].ratio == pytest.approx(1.05)


OTHERS = {
    "failed now": ({}, {"status": "failed", "failed_step": "export", "reason": "why"}, "worse", "export failed: why"),
    "failed then": ({"status": "failed", "failed_step": "export", "reason": "why"}, {}, "better", "failed before"),
    "failed both": ({"status": "failed"}, {"status": "failed", "reason": "why"}, "inconclusive", "failed in both"),
    "left its limits": ({}, {"parity": "fail"}, "worse", "it was pass and is fail"),
    "keeps its limits": ({"parity": "fail"}, {}, "better", "it was fail and is pass"),
    "is judged no more": ({}, {"parity": "inconclusive"}, "inconclusive", "it was pass and is inconclusive"),
    "grew": ({}, {"size_bytes": 1031}, "worse", "+3.1 %"),
    "grew a little": ({}, {"size_bytes": 1029}, "same", "+2.9 %"),
    "shrank": ({}, {"size_bytes": 500}, "better", "-50.0 %"),
    "shrank and left its limits": ({}, {"size_bytes": 500, "parity": "fail"}, "worse", "-50.0 %"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_results_parity_and_sizes(case: str, tmp_path: Path) -> None:
    then, now, verdict, why = OTHERS[case]
    [file] = compared(tmp_path, [row(**then)], [row(**now)]).files
    assert file.verdict == verdict
    assert any(why in aspect.why for aspect in file.aspects)


def test_only_the_same_file_is_compared(tmp_path: Path) -> None:
    then = [row("a", threads=1), row("a", threads=4), row("gone")]
    now = [row("a", threads=1), row("a", threads=2)]
    found = compared(tmp_path, then, now)
    assert sorted((file.model, file.threads, file.verdict) for file in found.files) == [
        ("a", 1, "same"), ("a", 2, "new"), ("a", 4, "missing"), ("gone", 1, "missing"),
    ]  # fmt: skip
    assert found.is_worse


@pytest.mark.parametrize(("kept", "worse"), [(["a", "b"], False), (["a"], True), (["a", "b", "c"], False)])
def test_a_file_that_is_missing_is_no_success_and_a_new_one_is(kept: list[str], worse: bool, tmp_path: Path) -> None:
    assert compared(tmp_path, [row("a"), row("b")], [row(model) for model in kept]).is_worse == worse


def test_figures_of_another_device_are_not_compared(tmp_path: Path) -> None:
    now = row(raw_ms=[2 * value for value in THEN])
    baseline = json.loads(now["baseline"])
    now["baseline"] = json.dumps({**baseline, "device": {**baseline["device"], "model": "Snapdragon"}})
    [file] = compared(tmp_path, [row(raw_ms=THEN)], [now]).files
    assert file.verdict == "inconclusive"
    assert "the device's model was Tensor and is Snapdragon" in file.aspects[-1].why


def test_the_command_fails_on_what_is_worse_and_its_json_is_as_published(cli: Cli, tmp_path: Path) -> None:
    then = [row("a", raw_ms=THEN), row("b", raw_ms=THEN)]
    now = [row("a", raw_ms=[1.5 * value for value in THEN]), row("b", raw_ms=THEN)]
    old, new = sweep_of(tmp_path / "old", then), sweep_of(tmp_path / "new", now)
    done = cli("sweep", "compare", old, new)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["worse", "same"]
    assert lines[3].startswith("worse: a 224x224 float32 on local: latency: the interval lies above 1.03")
    assert lines[-1] == "1 worse, 1 same"
    content = json.loads(cli("sweep", "compare", old, new, "--json").stdout)
    check_closely("sweep-compare", content)
    assert cli("sweep", "compare", new, old).returncode == 0


def test_what_is_no_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a sweep"):
        compare(sweep_of(tmp_path / "old", [row()]), tmp_path)
