"""Faults of a net that gives labels: before the labels, and in what makes them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mobilekit.convert.onnx import write_onnx
from mobilekit.models.user import resolve
from mobilekit.rewrites.fx.graph import trace
from tests.conftest import Cli

NET = """
import torch
from torch import nn

class Segments(nn.Module):
    def __init__(self, slope, pick):
        super().__init__()
        torch.manual_seed(3)
        self.stem, self.act, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.LeakyReLU(slope), nn.Conv2d(8, 5, 3, 1, 1)
        self.pick = pick

    def forward(self, x):
        return self.pick(self.head(self.act(self.stem(x))))

def right(): return Segments(0.1, lambda y: y.argmax(1))
def other_slope(): return Segments(0.4, lambda y: y.argmax(1))
def smallest(): return Segments(0.1, lambda y: y.argmin(1))
def above(): return Segments(0.1, lambda y: y > 0.1)
def above_more(): return Segments(0.1, lambda y: y > 0.15)
"""


@pytest.mark.parametrize(
    ("reference", "candidate", "module", "counts"),
    [
        ("right", "other_slope", "act", False),
        ("right", "smallest", "argmax", True),
        ("above", "above_more", "gt", True),
    ],
)
def test_the_fault_is_named(
    reference: str, candidate: str, module: str, counts: bool, tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "net.py").write_text(NET)
    shapes = {"input": (1, 3, 32, 32)}
    for name in (reference, candidate):
        model = resolve(f"{tmp_path / 'net.py'}:{name}").create()
        write_onnx(trace(model, {"input": torch.zeros(1, 3, 32, 32)}), shapes, tmp_path / f"{name}.onnx")
    words = ("diff", "--reference", f"{tmp_path / 'net.py'}:{reference}", "--candidate")
    right = cli(*words, tmp_path / f"{reference}.onnx")
    assert right.returncode == 0 and right.stdout.startswith("pass"), right.stdout + right.stderr
    done = cli(*words, tmp_path / f"{candidate}.onnx", "--bisect", tmp_path / "fault", "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)["bisect"]
    assert found["modules"] == [module]
    assert found["counts_labels"] is counts
    shown = subprocess.run([sys.executable, str(tmp_path / "fault" / "reproduce.py")], capture_output=True, text=True)
    assert shown.returncode == 1
    assert ("of the labels differ" in shown.stdout) is counts
    if counts:
        assert f"{found['alone']['relative_l2']:.1%} of the labels" in shown.stdout
