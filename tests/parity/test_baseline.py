"""A ledger against one that was kept: worse by more than the error of the format fails, and nothing else does."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.cli.render.baseline import baseline_lines
from mobilekit.errors import UsageError
from mobilekit.parity.baseline import BaselineReport, against_baseline, load_ledger, stage_error
from mobilekit.parity.ledger.result import FormatError, Ledger
from tests.cli.render.test_ci import check_junit
from tests.conftest import Cli

NOISE = {
    "float32_max_abs": 1e-6,
    "float32_relative_l2": 1e-6,
    "scale": 1.0,
    "float16_relative_l2": 1e-3,
    "dynamic_relative_l2": 0.03,
    "int8_relative_l2": 0.1,
    "int8_fitted_relative_l2": 0.1,
}


def row(stage: str, drift: float | None, verdict: str = "pass", **other: Any) -> dict[str, Any]:
    return {
        "stage": stage,
        "against": "reference",
        "output": "logits",
        "max_abs": 0.1,
        "mean_abs": 0.05,
        "psnr_db": 20.0,
        "relative_l2": drift,
        "cosine": 0.99,
        "top1_agreement": 1.0,
        "finite": True,
        "verdict": verdict,
        "random": dict.fromkeys(("max_abs", "mean_abs", "relative_l2", "cosine", "psnr_db", "top1_agreement"), 0.0),
        "limits": [{"metric": "relative_l2", "limit": 0.2, "derivation": "by hand"}],
        **other,
    }


def ledger(*rows: dict[str, Any], **other: Any) -> dict[str, Any]:
    return {
        "verdict": "fail" if any(each["verdict"] == "fail" for each in rows) else "pass",
        "inputs": {"real": "photos", "count": 8},
        "inputs_sha256": "a" * 64,
        "noise": {"logits": NOISE},
        "stages": list(rows),
        "artifacts": {"model.int8.tflite": {"size_bytes": 1000, "ops": {"CONV_2D": 3}, "partitions": 1}},
        **other,
    }


def compared(now: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    return against_baseline(Ledger.from_json(now), Ledger.from_json(before)).to_json()


@pytest.mark.parametrize(
    ("stage", "before", "now", "verdict"),
    [
        ("tflite-int8", 0.10, 0.19, "same"),
        ("tflite-int8", 0.10, 0.21, "regressed"),
        ("tflite-int8", 0.21, 0.10, "improved"),
        ("tflite-float16", 1e-3, 1.9e-3, "same"),
        ("tflite-float16", 1e-3, 2.1e-3, "regressed"),
        ("tflite-dynamic", 0.03, 0.07, "regressed"),
        ("onnx", 1e-6, 4.9e-6, "same"),  # 4 times the distance from float64
        ("tflite-float32", 1e-6, 5.1e-6, "regressed"),
        ("device-int8", 0.10, 0.21, "regressed"),
    ],
)
def test_each_format_is_held_to_its_own_noise(stage: str, before: float, now: float, verdict: str) -> None:
    report = compared(ledger(row(stage, now)), ledger(row(stage, before)))
    assert [each["verdict"] for each in report["stages"]] == [verdict]
    assert report["verdict"] == ("fail" if verdict == "regressed" else "pass")


@given(st.floats(0, 10), st.floats(0, 10), st.sampled_from(["onnx", "tflite-float16", "tflite-int8"]))
def test_getting_better_never_fails(first: float, second: float, stage: str) -> None:
    low, high = sorted((first, second))
    assert compared(ledger(row(stage, low)), ledger(row(stage, high)))["verdict"] == "pass"
    noise = stage_error(stage, FormatError.from_json(NOISE))
    assert noise is not None
    worse = compared(ledger(row(stage, high)), ledger(row(stage, low)))
    assert (worse["verdict"] == "fail") == (high - low > noise)


def test_a_more_sensitive_model_shows() -> None:
    """The noise that counts is the baseline's: a change may not widen its own gate."""
    noisy = {"logits": {**NOISE, "int8_relative_l2": 0.5}}
    now = ledger(row("tflite-int8", 0.4), noise=noisy)
    assert compared(now, ledger(row("tflite-int8", 0.1)))["verdict"] == "fail"


def test_noise_of_a_model_without_rounding_is_that_of_its_outputs() -> None:
    exact = FormatError.from_json({**NOISE, "float32_relative_l2": 0.0, "float16_relative_l2": 0.0})
    assert stage_error("onnx", exact) == stage_error("tflite-float16", exact) == 4 * 2**-24


def test_outputs_that_are_no_longer_finite_fail() -> None:
    before, broken = row("tflite-int8", 0.1), row("tflite-int8", None, "fail", finite=False)
    assert compared(ledger(broken), ledger(before))["verdict"] == "fail"
    assert compared(ledger(broken), ledger(broken))["verdict"] == "pass"
    assert compared(ledger(before), ledger(broken))["stages"][0]["verdict"] == "improved"


def test_stages_that_came_and_went_are_told_and_do_not_fail() -> None:
    report = compared(ledger(row("onnx", 1e-6), row("tflite-int8", 0.1)), ledger(row("onnx", 1e-6), row("x", 0.1)))
    assert [(each["stage"], each["verdict"]) for each in report["stages"]] == [
        ("onnx", "same"),
        ("tflite-int8", "new"),
        ("x", "missing"),
    ]
    assert report["verdict"] == "pass"


def test_ledgers_of_other_inputs_or_models_are_refused() -> None:
    here = ledger(row("onnx", 1e-6))
    other = ledger(row("onnx", 1e-6), inputs_sha256="b" * 64)
    with pytest.raises(UsageError, match="other inputs"):
        compared(here, other)
    old = ledger(row("onnx", 1e-6), inputs_sha256=None)  # before digests were kept
    assert compared(here, old)["verdict"] == "pass"
    with pytest.raises(UsageError, match="9 of photos"):
        compared(here, ledger(row("onnx", 1e-6), inputs={"real": "photos", "count": 9}, inputs_sha256=None))
    with pytest.raises(UsageError, match="of another model"):
        compared(here, ledger(row("onnx", 1e-6, output="boxes")))


def test_changes_of_files_are_shown() -> None:
    now, before = ledger(row("onnx", 1e-6)), ledger(row("onnx", 1e-6))
    now["artifacts"] = {
        "model.int8.tflite": {"size_bytes": 1010, "ops": {"CONV_2D": 2, "ADD": 1}},
        "model.onnx": {"size_bytes": 5, "ops": {}},
    }
    report = BaselineReport.from_json(compared(now, before))
    assert list(baseline_lines(report)) == [
        "Against the baseline: 1 of 1 comparison within the error of the format.",
        "  model.int8.tflite: 1000 -> 1010 bytes (+1.00 %), ADD 0 -> 1, CONV_2D 3 -> 2",
        "  model.onnx: new",
        "Verdict against the baseline: pass.",
    ]
    del before["artifacts"]  # a ledger of an earlier mobilekit
    assert compared(now, before)["artifacts"] == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "it is not JSON"),
        ("[" * 5000, "it is not JSON"),
        ("[]", "is no ledger: its top"),
        ("{}", "is no ledger: inputs: field required"),
        (json.dumps({**ledger(row("onnx", 1.0)), "stages": []}), "is no ledger: stages"),
        (json.dumps(ledger(row("onnx", 1.0) | {"relative_l2": "x"})), r"stages\.0\.relative_l2"),
    ],
)
def test_a_file_that_is_no_ledger_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "ledger.json").write_text(text)
    with pytest.raises(UsageError, match=problem):
        load_ledger(tmp_path / "ledger.json")


def test_a_baseline_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Cannot read the baseline") as caught:
        load_ledger(tmp_path / "none.json")
    assert "mobilekit diff BUNDLE --json" in caught.value.hint


# As a user runs it.


def test_diff_gates_on_a_baseline(digits_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    written = json.loads((digits_bundle / "ledger.json").read_text())
    assert (
        written["artifacts"]["model.int8.tflite"]["size_bytes"] == (digits_bundle / "model.int8.tflite").stat().st_size
    )
    assert written["artifacts"]["model.onnx"]["ops"]["Conv"] > 50
    better = copy.deepcopy(written)
    for each in better["stages"]:
        if each["stage"] == "tflite-int8":
            each["relative_l2"] = 0.0
            better["noise"]["logits"]["int8_relative_l2"] = 1e-9
    better["artifacts"]["model.int8.tflite"]["ops"]["CONV_2D"] += 1
    (tmp_path / "better.json").write_text(json.dumps(better))
    same = cli("diff", digits_bundle, "--baseline", digits_bundle / "ledger.json", "--json")
    assert same.returncode == 0, same.stderr
    assert json.loads(same.stdout)["baseline"]["verdict"] == "pass"
    files = ("--sarif", tmp_path / "parity.sarif", "--junit", tmp_path / "parity.xml")
    worse = cli("diff", digits_bundle, "--baseline", tmp_path / "better.json", *files)
    assert worse.returncode == 1
    assert "regressed: tflite-int8 against reference (logits)" in worse.stdout
    assert "CONV_2D" in worse.stdout
    results = json.loads((tmp_path / "parity.sarif").read_text())["runs"][0]["results"]
    assert {result["ruleId"] for result in results} == {"baseline"} and len(results) == 2
    check_junit((tmp_path / "parity.xml").read_text())


def test_a_wrong_baseline_is_told_before_anything_runs(digits_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli("diff", digits_bundle, "--baseline", tmp_path / "none.json")
    assert done.returncode == 2
    assert "Cannot read the baseline" in done.stderr
