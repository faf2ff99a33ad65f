"""Counts beside other converters: which file a ratio is taken to, and what is marked; and the fit to phones."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import arm_beside
from benchmarks.arm_beside import PeerFile
from benchmarks.arm_fit import fit
from mobilekit.bench.artifacts import Artifact

OURS = Artifact(
    Path("now/net/model.int8.tflite"), "net/model.int8.tflite", "now/net", "int8", "0" * 64, Path("now/net")
)
COUNTS = {"now/net": 90, "old/net": 120, "wrong": 50, "right": 100}


def test_a_ratio_is_to_the_best_right_file(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "onnx2tf": PeerFile(Path("right/a"), ""),
        "litert-torch": PeerFile(Path("wrong/a"), "wrong: so is its float"),
    }
    monkeypatch.setattr(arm_beside, "files_of", lambda _bundles: [OURS])
    monkeypatch.setattr(arm_beside, "peer_file", lambda tool, _artifact, _made_only: files[tool.name])
    monkeypatch.setattr("benchmarks.arm_beside.count", lambda path, _core: 10**6 * COUNTS[str(path.parent)])
    notes: list[str] = []
    rows = list(arm_beside._rows([], Path("old"), notes))
    assert rows == [
        ["net", "int8", core, "90.00", "100.00", "50.00 (wrong)", "0.900", "120.00", "0.750"]
        for core in ("Cortex-A55", "Cortex-A76")
    ]
    assert notes == ["litert-torch, net, int8: wrong: so is its float"]


def test_without_a_right_file_there_is_no_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm_beside, "files_of", lambda _bundles: [OURS])
    monkeypatch.setattr(arm_beside, "peer_file", lambda _tool, _artifact, _made_only: PeerFile(None, "exit code 1"))
    monkeypatch.setattr("benchmarks.arm_beside.count", lambda path, _core: 10**6 * COUNTS[str(path.parent)])
    assert next(arm_beside._rows([], None, []))[3:] == ["90.00", "-", "-", "-"]


def test_a_fit_leaves_as_much_above_as_below() -> None:
    factor, left = fit({"a": 20.0, "b": 80.0, "c": 40.0}, {"a": 10.0, "b": 10.0, "c": 10.0})
    assert factor == pytest.approx(4)
    assert left == pytest.approx({"a": 0.5, "b": 2.0, "c": 1.0})
