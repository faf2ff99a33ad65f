"""Parts of a graph that int8 leaves in float."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from mobilekit.parity.noise import EveryTensorRounded
from mobilekit.rewrites.graph import trace
from tests.conftest import Cli

CODE = '''
import torch
from torch import nn

class Attention(nn.Module):
    """ReLU linear attention over the pixels, between two convolutions."""
    def __init__(self):
        super().__init__()
        self.before = nn.Conv2d(3, 48, 3, 4, 1)
        self.after = nn.Conv2d(16, 8, 1)
    def forward(self, x):
        tokens = self.before(x).flatten(2)
        query, key, value = tokens[:, :16].relu(), tokens[:, 16:32].relu(), tokens[:, 32:]
        top = value @ (key.transpose(1, 2) @ query)
        bottom = key.sum(2, keepdim=True).transpose(1, 2) @ query + 1e-5
        mixed = (top / bottom).reshape(-1, 16, x.shape[2] // 4, x.shape[3] // 4)
        return self.after(mixed).flatten(1)

def make():
    return Attention()
'''


class Quotient(nn.Module):
    """Two convolutions; the first one's output is split, and one half divided by the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.second = nn.Conv2d(2, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.first(x)
        return self.second(features[:, :2] / (features[:, 2:].relu() + 1)) * 0.5


def test_the_imitation_leaves_what_leads_to_a_division() -> None:
    graph = trace(Quotient())
    kept = {node.name for node in EveryTensorRounded(graph, float_quotients=True).unrounded}
    assert {"truediv", "add", "relu"} <= kept
    assert not kept & {"x", "first", "second", "mul"}
    assert EveryTensorRounded(graph).unrounded == set()


def test_a_division_by_a_number_is_no_quotient() -> None:
    class Halves(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / 2

    assert EveryTensorRounded(trace(Halves()), float_quotients=True).unrounded == set()


@pytest.mark.slow
def test_linear_attention_survives_int8_where_its_quotient_stays_in_float(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "net.py").write_text(CODE)
    errors, divisions = {}, {}
    for name, kept in (("plain", "[]"), ("mixed", "[quotients]")):
        (tmp_path / f"{name}.yaml").write_text(f"input: {{size: 64}}\nint8: {{keep_float: {kept}}}\n")
        recipe = tmp_path / f"{name}.yaml"
        options = ("--recipe", recipe, "--precision", "float32,int8", "-o", tmp_path / name, "--json")
        ledger = json.loads(cli("export", f"{tmp_path / 'net.py'}:make", *options).stdout)["ledger"]
        rows = {row["stage"]: row for row in ledger["stages"] if row["against"] == "reference"}
        errors[name] = rows["tflite-int8"]["relative_l2"]
        assert rows["tflite-float32"]["verdict"] == "pass"
        divisions[name] = _type_of_division(tmp_path / name / "model.int8.tflite")
    assert divisions["mixed"] == "float32"
    assert errors["mixed"] < errors["plain"] / 2


def _type_of_division(path: Path) -> str:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    types = {detail["index"]: detail["dtype"].__name__ for detail in interpreter.get_tensor_details()}
    (division,) = [node for node in interpreter._get_ops_details() if node["op_name"] == "DIV"]
    return str(types[int(division["inputs"][1])])
