"""Lowering: what a failure becomes, and, where ExecuTorch is set up, what comes of small nets."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mobilekit.artifacts.executorch.pte import read_pte
from mobilekit.convert.executorch import lower as lowering
from mobilekit.convert.executorch.float_steps import float_steps
from mobilekit.convert.executorch.forms import FORMS
from mobilekit.convert.executorch.lower import Quantization, lower
from mobilekit.convert.program.program import program_of
from mobilekit.errors import ToolError
from mobilekit.recipes.schema import Int8
from mobilekit.rewrites.fx.graph import trace
from mobilekit.store.files import sha256_of
from mobilekit.store.worker import Worker, python_path
from tests.converting import normal
from tests.programs import Lowered, TwoParts, program_in_forms

SHAPE = (1, 3, 8, 8)


def stand_in(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    serving = f"from mobilekit.store.worker_loop import named, serve\ndef lower(request):\n    {code}\nserve(lower)\n"

    def start(_module: str) -> Worker:
        return Worker([sys.executable, "-c", serving], environment={"PYTHONPATH": python_path()})

    monkeypatch.setattr(lowering, "start", start)


def lowered(folder: Path) -> None:
    graph = trace(TwoParts(), {"input": torch.zeros(SHAPE)})
    lower(program_of(graph, {"input": SHAPE}, FORMS), folder / "net.pte", folder, {})


def test_executorchs_reason_is_told_in_two_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = "with named('ExecuTorch'): raise RuntimeError('Missing out variants: {\\'aten::foo\\'}\\nand much more')"
    stand_in(monkeypatch, code)
    with pytest.raises(ToolError) as raised:
        lowered(tmp_path)
    first, second = str(raised.value).splitlines()
    assert first == "ExecuTorch does not lower the model: RuntimeError: Missing out variants: {'aten::foo'}."
    assert second.startswith("The other files are whole; ")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("below", "listed"),
    [
        (
            "\n\nOperator: <EdgeOpOverload: aten.add.Tensor>: schema = aten::add.Tensor(Tensor x) with args: (1, 2)"
            "\nstack trace: File net.py\n\nOperator: <EdgeOpOverload: aten.mul.Tensor>: schema = more\nPlease.",
            ": aten.add.Tensor, aten.mul.Tensor.",
        ),
        ("\n  one\n\n  two\n", ": one, two."),
        ("\n" + "\n".join(["a"] * 400 + ["b"]), ": a."),
        ("\n" + "word " * 200, "word."),
        ("", "mismatched dtypes."),
    ],
)
def test_a_reason_that_lists_ops_names_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, below: str, listed: str
) -> None:
    words = f"These operators take mismatched dtypes:{below}"
    stand_in(monkeypatch, f"with named('ExecuTorch'): raise ValueError({words!r})")
    with pytest.raises(ToolError) as raised:
        lowered(tmp_path)
    assert raised.value.what.startswith("ExecuTorch does not lower the model: ValueError: These operators take ")
    assert raised.value.what.endswith(listed)
    assert len(raised.value.what) < 350


def test_a_process_that_dies_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in(monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(ToolError, match="ExecuTorch's process does not lower the model: it was ended by SIGKILL"):
        lowered(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("executorch")
def test_a_small_net_is_lowered_to_the_same_bytes_twice(tmp_path: Path) -> None:
    digests = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made = Lowered(TwoParts(), SHAPE, tmp_path / name)
        digests.add(sha256_of(made.path))
    assert len(digests) == 1
    assert made.distance(normal(3, *SHAPE[1:])) < 1e-6


@pytest.mark.slow
@pytest.mark.usefixtures("executorch")
def test_pictures_that_come_as_bytes(tmp_path: Path) -> None:
    made = Lowered(TwoParts(), SHAPE, tmp_path, dtype="uint8")
    pictures = (normal(2, *SHAPE[1:]) * 40 + 128).clip(0, 255).round()
    assert made.distance(pictures) < 1e-6
    assert made.outside[0]["op"] == "_to_dim_order_copy"


class Softplus(nn.Module):
    """A map that steps inside and outside of XNNPACK's part read: log1p, which it lacks, and a comparison."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.softplus(self.conv(x))


@pytest.mark.slow
@pytest.mark.usefixtures("executorch")
def test_an_int8_map_is_read_inside_and_outside_of_a_part(tmp_path: Path) -> None:
    """With one step that makes it float for all readers the file ends with error 0x10 when it is run."""
    inputs = normal(8, *SHAPE[1:])
    made = Lowered(Softplus(), SHAPE, tmp_path, quantization=Quantization([inputs], []))
    assert made.distance(inputs) < 0.02
    assert "log1p" in {step["op"] for step in made.outside}


class Ends(nn.Module):
    """Boxes up to 1000 and scores up to 1, joined and moved."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shares = self.conv(x).sigmoid()
        return torch.cat([1000 * shares[:, :2], shares[:, 2:]], 1).flatten(2).transpose(1, 2)


@pytest.mark.slow
@pytest.mark.usefixtures("executorch")
def test_what_stays_in_float_is_not_rounded_where_it_is_joined(tmp_path: Path) -> None:
    """ExecuTorch's quantizer does not ask for concatenations, nor for what moves them."""
    inputs = normal(8, *SHAPE[1:])
    program, _names = program_in_forms(Ends(), SHAPE)
    steps = [node.name for node in program.graph.nodes if node.op == "call_function"]
    made = Lowered(Ends(), SHAPE, tmp_path, quantization=Quantization([inputs], steps[1:]))
    with torch.no_grad():
        wanted = made.model(torch.from_numpy(inputs)).numpy()
    scores = (made.run(inputs) - wanted)[..., 2:]
    assert np.linalg.norm(scores) < 0.05 * np.linalg.norm(wanted[..., 2:])


class CrossAttention(nn.Module):
    """Queries of the model's own look at a picture: their projections are slices of one tensor."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.head = nn.Conv2d(3, 16, 4, 4), nn.Linear(16, 4)
        self.queries = nn.Parameter(torch.randn(1, 5, 16))
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        found, _weights = self.attention(self.queries.expand(len(x), -1, -1), tokens, tokens, need_weights=False)
        return self.head(found.mean(1))


@pytest.mark.slow
@pytest.mark.usefixtures("executorch")
def test_multi_head_attention_is_one_part_and_quantized(tmp_path: Path) -> None:
    net, images = CrossAttention(), normal(16, *SHAPE[1:])
    exact = Lowered(net, SHAPE, tmp_path)
    assert (exact.outside, len(read_pte(exact.path).parts)) == ([], 1)
    assert exact.distance(images) < 2e-6
    program, _names = program_in_forms(net, SHAPE)
    wanted = Quantization([images], float_steps(program, Int8()), correct_bias=True, choose_ranges=True)
    assert 1e-4 < Lowered(net, SHAPE, tmp_path, quantization=wanted).distance(images) < 0.05
