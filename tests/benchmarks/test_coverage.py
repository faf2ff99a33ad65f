"""The benchmark of coverage: what it draws, how it judges, what it calls an outcome; and three small nets in it."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import processes
from benchmarks.coverage import __main__ as coverage
from benchmarks.coverage import judge, networks, report
from benchmarks.coverage.outcomes import last_words, outcomes, passed
from benchmarks.coverage.prepare import WEIGHTS
from benchmarks.coverage.ways import WAYS, Job
from mobilekit.recipes.picture import Input

OURS, _INT8, HAND = WAYS[0], WAYS[1], WAYS[2]
RIGHT, WRONG = {"right": True, "error": 1e-6}, {"right": False, "error": 0.5}
TRACEBACK = "Traceback (most recent call last)\n  File x\nValueError: no"


def ended(code: int, *, is_over: bool = False) -> processes.Cost:
    return processes.Cost(code, 1.0, 1.0, 1.0, is_over)


class Zeros(nn.Module):
    """Everything that makers begin at zero, at one, or nearly so."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4)
        self.scale = nn.Parameter(1e-5 * torch.ones(4, 1, 1))
        self.pos_embed = nn.Parameter(torch.zeros(1, 4, 7, 7))
        self.matrix = nn.Parameter(torch.zeros(5, 4))
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.norm(self.conv(x)) * self.scale + self.pos_embed).mean((2, 3)) @ self.matrix.T


def test_no_branch_is_zero_and_norms_have_statistics_of_images() -> None:
    torch.manual_seed(0)
    first = Zeros().eval()
    second = copy.deepcopy(first)
    for model in (first, second):
        networks.draw(model, Input(size=15))
    drawn = first.state_dict()
    assert all(torch.equal(value, drawn[name]) for name, value in second.state_dict().items())
    assert drawn["scale"].min() >= 0.2
    assert drawn["norm.weight"].min() >= 0.2
    assert drawn["pos_embed"].std().item() == pytest.approx(0.3, rel=0.2)
    assert drawn["matrix"].std().item() == pytest.approx(0.5, rel=0.5)
    assert bool((first.norm.running_mean != 0).all()) and bool((first.norm.running_var != 1).all())
    assert drawn["norm.bias"].abs().max() < 0.3


@pytest.mark.parametrize(
    ("cost", "said", "judged", "expected"),
    [
        (ended(0), "", {"float32": RIGHT}, "right"),
        (ended(0), "", {"float32": WRONG}, "wrong"),
        (ended(0), "", {}, "wrong"),
        (ended(1), "fail: x", {"float32": RIGHT}, "doubted"),
        (ended(1), "fail: x", {"float32": WRONG}, "failed"),
        (ended(4), "error: x cannot be traced", {}, "refused"),
        (ended(4), TRACEBACK, {}, "crashed"),
        (ended(-9), "", {}, "crashed"),
        (ended(-9, is_over=True), "", {}, "too slow"),
    ],
)
def test_outcomes(cost: processes.Cost, said: str, judged: dict[str, Any], expected: str) -> None:
    assert outcomes(OURS, cost, said, judged, (), 300)["float32"]["outcome"] == expected


def test_a_file_that_was_there_before_the_failure_is_judged_alone() -> None:
    found = outcomes(HAND, ended(1), TRACEBACK, {"onnx": RIGHT}, {"onnx"}, 300)
    assert [found[name]["outcome"] for name in ("onnx", "float32")] == ["right", "crashed"]
    assert found["float32"]["reason"] == "exit code 1: ValueError: no"


def test_a_ledger_tells_which_format_failed() -> None:
    stages = [{"stage": "onnx-simplified", "verdict": "pass"}, {"stage": "tflite-float32", "verdict": "fail"}]
    assert passed({"stages": stages}) == {"onnx"}  # int8 is not there


def test_the_last_words_are_the_error() -> None:
    assert last_words("one\n\x1b[31merror: two\x1b[0m\nthree", 4) == "exit code 4: error: two"
    assert last_words("fail: /a/b.c/d/nets.py:x: 1 / 2 of a/b", 1) == "exit code 1: fail: nets.py:x: 1 / 2 of a/b"
    assert last_words("", -11) == "signal 11: nothing said"


def test_outputs_are_matched_by_shape_and_axes() -> None:
    generator = np.random.default_rng(0)
    image, row = generator.random((2, 3, 4, 5)), generator.random((2, 7))
    made = [row + 1e-5, image.transpose(0, 2, 3, 1)]
    assert judge.best(made, [image, row], judge._closeness) == pytest.approx(-1e-5 / row.max(), rel=1e-6)
    assert judge.best(made[:1], [image, row], judge._closeness) is None
    assert judge.best([image, row[:, :6]], [image, row], judge._closeness) is None
    assert judge.best([-row], [row], judge._cosine) == pytest.approx(-1)
    assert judge.best([np.full_like(row, np.nan)], [row], judge._closeness) == -np.inf


def test_a_command_is_stopped_at_its_limit(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "while True: pass"]
    cost = processes.run(words, tmp_path, tmp_path / "log", processes.variables(), limit=0.2)
    assert cost.is_over
    assert cost.code == -9
    assert 0.2 < cost.cpu < 5


def test_rows_are_done_anew_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "row.json"
    assert not coverage.is_done(path, None)
    for outcome, again, expected in (
        ("wrong", None, True),
        ("wrong", "not-right", False),
        ("right", "not-right", True),
    ):
        path.write_text(json.dumps({"sources": "old", "outcomes": {"float32": {"outcome": outcome}}}))
        assert coverage.is_done(path, again) is expected
    assert not coverage.is_done(path, "outdated")


def test_the_document_has_shares_and_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "versions", lambda *_: {"Python": "3"})
    right, wrong = {"outcome": "right", "reason": ""}, {"outcome": "wrong", "reason": "off by 1 | 2"}
    rows = [
        {"model": model, "way": way.name, "date": "2026-01-01", "sources": "x" if way.is_ours else "", "outcomes": each}
        for way, model, each in (
            (OURS, "yolo", {"onnx": right, "float32": right}),
            (OURS, "unet", {"onnx": right, "float32": wrong}),
            (HAND, "yolo", {"onnx": wrong, "float32": wrong}),
        )
    ]
    text = report.document(rows, None, 300)
    assert "| mobilekit | TFLite float32 | 2 | 50.0 % | 50.0 % | 1 | 0 | 0 | 0 | 1 | 0 | 0 |" in text
    assert "| TFLite float32 | onnx2tf | 1 | 1 | 0 |" in text
    assert "| unet | TFLite float32 | wrong | off by 1 / 2 |" in text
    assert "| yolo | ONNX, TFLite float32 | wrong | off by 1 / 2 |" in text
    assert "2 of mobilekit's 2 rows are older" in text


@pytest.mark.slow
def test_outputs_of_other_weights_are_made_anew(tmp_path: Path) -> None:
    folder = coverage.prepare("style", tmp_path)
    (folder / "random.npz").unlink()
    assert coverage.prepare("style", tmp_path) == folder
    assert not (folder / "random.npz").exists()  # the same network: nothing is made
    (folder / WEIGHTS).write_text("another one")
    coverage.prepare("style", tmp_path)
    assert (folder / "random.npz").exists()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["yolo", "detector", "style"])
def test_a_small_net_comes_out_right(model: str, tmp_path: Path) -> None:
    job = Job(model, coverage.prepare(model, tmp_path), tmp_path / "files")
    row = coverage.measure(job, OURS, sys.executable, limit=300)
    assert {name: each["outcome"] for name, each in row["outcomes"].items()} == {"onnx": "right", "float32": "right"}
    assert max(each["error"] for each in row["outcomes"].values()) < judge.LARGEST_ERROR
