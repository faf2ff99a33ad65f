"""Counts against an earlier one, and against budgets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mobilekit.bench.baseline import load_baseline
from mobilekit.bench.instructions.baseline import TOLERANCE, load_count_baseline
from mobilekit.bench.instructions.gates import CountGates
from mobilekit.bench.instructions.result import CountResult
from mobilekit.errors import UsageError
from tests.bench.instructions.counts import make_file, make_model, make_result


def against(before: CountResult, now: CountResult, folder: Path) -> CountResult:
    """Return a count held against another, by way of the file."""
    path = folder / "base.json"
    CountGates.load(None, None, path).save(before)
    return CountGates.load(path, None, None).check(now)


@pytest.mark.parametrize(
    ("wide", "verdict"),
    [(600_000, "same"), (605_000, "same"), (605_001, "regressed"), (595_100, "same"), (594_900, "improved")],
)
def test_a_model_may_grow_by_half_a_percent(wide: int, verdict: str, tmp_path: Path) -> None:
    """The whole has a million instructions, so that .5 % are 5000."""
    assert TOLERANCE == 0.005
    result = against(make_result(make_file(make_model())), make_result(make_file(make_model(wide))), tmp_path)
    assert result.baseline
    change = result.baseline[0]
    assert (change.part, change.verdict, change.then, change.now) == ("model", verdict, 1_000_000, 400_000 + wide)
    assert result.fails == (verdict == "regressed")
    parts = [row.part for row in result.baseline[1:]]
    assert parts == ([] if verdict == "same" else ["kind pointwise", "module blocks.0"])


def test_a_part_that_grew_fails_though_another_fell(tmp_path: Path) -> None:
    before, now = make_model(), make_model()
    object.__setattr__(now, "by_module", {"blocks.0": 590_000, "blocks.2": 410_000})
    result = against(make_result(make_file(before)), make_result(make_file(now)), tmp_path)
    assert result.baseline and result.fails
    verdicts = {row.part: row.verdict for row in result.baseline}
    assert verdicts == {
        "model": "same",
        "module blocks.0": "improved",
        "module blocks.1": "improved",
        "module blocks.2": "regressed",
    }


def test_a_changed_kernel_is_shown(tmp_path: Path) -> None:
    now = make_result(make_file(make_model(700_000, "f32_gemm_4x2")))
    result = against(make_result(make_file(make_model())), now, tmp_path)
    assert result.baseline
    assert result.baseline[0].kernels == {"f32_gemm_6x8 -> f32_gemm_4x2": 1}


@pytest.mark.parametrize(
    ("core", "litert", "why"), [("a55", "2.3.0", "core was a55 and is a76"), ("a76", "2.1.0", "LiteRT was 2.1.0 and")]
)
def test_other_cores_and_versions_are_not_compared(core: str, litert: str, why: str, tmp_path: Path) -> None:
    before = make_result(make_file(make_model()), core=core, litert=litert)
    result = against(before, make_result(make_file(make_model(900_000))), tmp_path)
    assert result.baseline and not result.fails
    assert result.baseline[0].verdict == "not-comparable" and why in result.baseline[0].why
    assert "it gates nothing here" in result.notes[-1]


def test_files_that_are_new_or_gone_are_told(tmp_path: Path) -> None:
    before = make_result(make_file(make_model()), make_file(make_model(), "n/old.tflite"))
    now = make_result(make_file(make_model()), make_file(make_model(), "n/new.tflite"))
    result = against(before, now, tmp_path)
    assert result.baseline and not result.fails
    told = {row.file: row.verdict for row in result.baseline}
    assert told == {"n/model.float32.tflite": "same", "n/new.tflite": "new", "n/old.tflite": "missing"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "it is not JSON"),
        ("[]", "no baseline of instructions"),
        ('{"format": 1}', "no baseline of instructions"),
        ('{"unit": "instructions", "format": 1}', "is damaged: date"),
    ],
)
def test_another_file_is_no_baseline(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text(text)
    with pytest.raises(UsageError, match=told):
        load_count_baseline(tmp_path / "base.json")


def test_counts_are_no_baseline_of_latencies(tmp_path: Path) -> None:
    CountGates.load(None, None, tmp_path / "base.json").save(make_result(make_file(make_model())))
    with pytest.raises(UsageError, match="is a baseline of instructions"):
        load_baseline(tmp_path / "base.json")


def test_nothing_counted_is_no_baseline(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No count was accepted"):
        CountGates.load(None, None, tmp_path / "base.json").save(make_result(make_file(None, why_not="It differs.")))
    assert not (tmp_path / "base.json").exists()


@pytest.mark.parametrize(
    ("budget", "figure", "verdict"),
    [
        ({"instructions": 1_000_000}, 1_000_000, "pass"),
        ({"instructions": 999_999}, 1_000_000, "fail"),
        ({"instructions": 600_000, "kind": "pointwise"}, 600_000, "pass"),
        ({"instructions": 399_999, "module": "blocks.1"}, 400_000, "fail"),
        ({"instructions": 1, "module": "blocks.9"}, None, "inconclusive"),
        ({"latency_ms": 1}, None, "inconclusive"),
        ({"device": "Cortex-A7*", "size_mb": 1}, 1.5, "fail"),
    ],
)
def test_budgets(budget: dict[str, object], figure: float | None, verdict: str, tmp_path: Path) -> None:
    path = tmp_path / "budgets.yaml"
    path.write_text(json.dumps({"budgets": [budget]}))
    result = CountGates.load(None, path, None).check(make_result(make_file(make_model())))
    assert result.budgets
    [row] = result.budgets
    assert (row.figure, row.verdict, row.device) == (figure, verdict, "Cortex-A76")
    assert result.fails == (verdict == "fail")


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ({"latency_ms": 1, "kind": "pointwise"}, "are for instructions"),
        ({"instructions": 1, "kind": "pointwise", "module": "blocks.0"}, "a budget of its own"),
    ],
)
def test_budgets_that_make_no_sense(budget: dict[str, object], told: str, tmp_path: Path) -> None:
    (tmp_path / "budgets.yaml").write_text(json.dumps({"budgets": [budget]}))
    with pytest.raises(UsageError, match=told):
        CountGates.load(None, tmp_path / "budgets.yaml", None)
