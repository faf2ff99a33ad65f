"""Int8 files with parts in float: better than without, and in one piece."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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


TRANSFORMER = '''
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.act, self.down = nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
    def forward(self, tokens):
        query, key, value = self.qkv(self.norm1(tokens)).chunk(3, dim=-1)
        weights = (4 * query @ key.transpose(1, 2)).softmax(-1)
        tokens = tokens + self.mix(weights @ value)
        return tokens + self.down(self.act(self.up(self.norm2(tokens))))

class Net(nn.Module):
    """A small vision transformer whose channels are of very different sizes, as those of trained ones are."""
    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 32, 8, 8)
        self.blocks = nn.Sequential(*(Block(32) for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, 10)
        with torch.no_grad():
            self.embed.weight *= torch.logspace(-2, 2, 32).reshape(-1, 1, 1, 1)
    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.blocks(tokens)).mean(1))

def make():
    return Net()
'''


@pytest.mark.slow
def test_a_transformer_s_int8_is_better_and_in_one_piece_with_its_attention_and_norms_in_float(
    tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "net.py").write_text(TRANSFORMER)
    errors, partitions = {}, {}
    for name, kept in (("plain", "[]"), ("default", "[division, attention, normalization]")):
        recipe = tmp_path / f"{name}.yaml"
        recipe.write_text(f"input: {{size: 64}}\nint8: {{keep_float: {kept}}}\n")
        options = ("--recipe", recipe, "--precision", "float32,int8", "-o", tmp_path / name, "--json")
        ran = cli("export", f"{tmp_path / 'net.py'}:make", *options)
        ledger = json.loads(ran.stdout)["ledger"]
        rows = {row["stage"]: row for row in ledger["stages"] if row["against"] == "reference"}
        errors[name] = rows["tflite-int8"]["relative_l2"]
        shown = json.loads(cli("inspect", tmp_path / name / "model.int8.tflite", "--json").stdout)
        partitions[name] = shown["delegate"]["partitions"]
        if name == "default":
            assert ran.returncode == 0
    assert errors["default"] < errors["plain"] / 2
    assert partitions["default"] == 1 < partitions["plain"]


@pytest.mark.slow
def test_linear_attention_survives_int8_where_its_quotient_stays_in_float(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "net.py").write_text(CODE)
    errors, divisions = {}, {}
    for name, kept in (("plain", "[]"), ("mixed", "[division]")):
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
