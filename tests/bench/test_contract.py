"""The JSON of a bench: its keys are what they were when it was made of dicts, and what was kept then is read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from mobilekit.bench.baseline import load_baseline
from mobilekit.bench.gates import Gates
from tests.cli.render.test_bench import PROFILE, make_gated
from tests.conftest import ROOT

KEPT = ROOT / "tests" / "data" / "json"


def test_a_bench_prints_what_it_did(tmp_path: Path) -> None:
    bench = replace(make_gated(tmp_path), profiles={"n/a.tflite": PROFILE})
    content: dict[str, Any] = json.loads(json.dumps(bench.to_json(), allow_nan=False))
    for result in content["results"]:
        result["path"] = result["path"].replace(str(tmp_path), "FOLDER")
    before = json.loads((KEPT / "bench.json").read_text())
    assert content == before
    assert list(content)[-3:] == ["profiles", "baseline", "budgets"]


def test_a_baseline_that_was_kept_is_read(tmp_path: Path) -> None:
    bench = make_gated(tmp_path)
    kept = load_baseline(KEPT / "baseline.json")
    assert kept.device == bench.device
    found = Gates.load(KEPT / "baseline.json", None, None).check(replace(bench, baseline=None))
    assert [each.verdict for each in found.baseline or ()] == ["improved", "regressed", "regressed"]
