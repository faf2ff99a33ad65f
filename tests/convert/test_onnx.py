"""A graph as torch's exporter writes it: the function, the operators that phones want, names, and nothing else."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.convert.onnx import simplify, write_onnx
from mobilekit.errors import ToolError, UsageError
from mobilekit.models.inputs import zeros
from mobilekit.models.shapes import Shapes
from mobilekit.recipes.schema import Opset
from mobilekit.rewrites.fx.graph import trace

SHAPE = (1, 4, 6, 6)
X = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)) * 4
TOLERANCE = 4e-6
"""Of the largest value: some 30 roundings of 2^-24 each, and ONNX Runtime's Erf, which is right to some 1e-6."""


class Calls(nn.Module):
    """A model that calls a function."""

    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


def write(model: nn.Module, path: Path, opset: Opset | None = None) -> Any:
    """Write a model of one input, compare what ONNX Runtime makes of the file, and return what is in it."""
    model = model.eval()
    write_onnx(trace(model, {"input": X}), {"input": SHAPE}, path, opset)
    made = onnx.load(path)
    onnx.checker.check_model(made, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = model(X)
    expected = {"output": expected} if isinstance(expected, torch.Tensor) else expected
    for result, truth in zip(session.run(None, {"input": X.numpy()}), expected.values(), strict=True):
        scale = max(1.0, float(truth.abs().max()))
        np.testing.assert_allclose(result, truth.numpy(), rtol=0, atol=TOLERANCE * scale)
    return made


def kinds(model: Any) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_an_input_without_effect_is_refused(tmp_path: Path) -> None:
    class Deaf(nn.Module):
        def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return image * mask.shape[2]

    shapes: Shapes = {"input": (1, 3, 8, 8), "mask": (1, 1, 8, 8)}
    with pytest.raises(UsageError, match="do not depend on its input mask"):
        write_onnx(trace(Deaf(), zeros(shapes)), shapes, tmp_path / "a.onnx")


def test_a_model_of_constants_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="do not depend on its image"):
        write(Calls(lambda x: torch.ones(x.shape[0], 3)), tmp_path / "a.onnx")


def test_what_torch_cannot_export_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ToolError) as caught:
        write(Calls(lambda x: torch.linalg.qr(x)[0]), tmp_path / "a.onnx")
    assert caught.value.what.startswith("torch.onnx failed: No ONNX function found for") and "linalg_qr" in str(caught)
    assert "\n" not in caught.value.what
    assert capfd.readouterr() == ("", "")


FORMS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], list[str]]] = {
    "a pool to one value": (lambda x: F.adaptive_avg_pool2d(x, 1), ["GlobalAveragePool"]),
    "a mean of maps": (lambda x: x.mean((-1, 2), keepdim=True), ["GlobalAveragePool"]),
    "a mean without its axes": (lambda x: x.mean((2, 3)), ["ReduceMean"]),
    "a mean of channels": (lambda x: x.mean(1, keepdim=True), ["ReduceMean"]),
    "a clamp to whole bounds": (lambda x: x.clamp(0, 6), ["Clip"]),
    "a clamp to other bounds": (lambda x: x.clamp(-0.5, 1.5), ["Clip"]),
    "a clamp from above": (lambda x: x.clamp(max=3), ["Clip"]),
    "a clamp to tensors": (lambda x: torch.clamp(x, torch.zeros(4, 1, 1), torch.ones(1)), ["Max", "Min"]),
    "a pool of more values": (lambda x: F.adaptive_avg_pool2d(x, 2), ["AveragePool"]),
    "parts": (lambda x: F.relu(x.split([1, 3], 1)[1]), ["Split", "Relu"]),
    "equal parts": (lambda x: F.relu(x.chunk(2, 2)[0]), ["Split", "Relu"]),
    "hard sigmoid": (F.hardsigmoid, ["HardSigmoid"]),
    "a flip": (lambda x: x.flip(1), ["Gather"]),
    "a flip of two axes": (lambda x: x.flip((-1, 2)), ["Gather", "Gather"]),
    "a quarter turn": (lambda x: torch.rot90(x, 1, (2, 3)), ["Gather", "Transpose"]),
}


class Forms(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.forms = nn.ModuleDict({name: Calls(function) for name, (function, _) in FORMS.items()})

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name.replace(" ", "_"): form(x) for name, form in self.forms.items()}


def test_the_operators_that_a_phone_wants(tmp_path: Path) -> None:
    found: dict[str, list[str]] = {name: [] for name in FORMS}
    for node in write(Forms(), tmp_path / "a.onnx").graph.node:
        found[node.name.rpartition("/")[0].removeprefix("forms.")].append(node.op_type)
    assert found == {name: expected for name, (_, expected) in FORMS.items()}


@pytest.mark.parametrize(
    ("function", "opset", "expected", "is_one"),
    [(F.gelu, None, 20, True), (F.gelu, 20, 20, True), (F.gelu, 18, 18, False), (F.relu, None, 18, True)],
)
def test_the_opset_is_20_where_a_gelu_wants_it(
    function: Callable[[torch.Tensor], torch.Tensor],
    opset: Opset | None,
    expected: int,
    is_one: bool,
    tmp_path: Path,
) -> None:
    made = write(Calls(function), tmp_path / "a.onnx", opset)
    assert [each.version for each in made.opset_import if not each.domain] == [expected]
    assert (len(made.graph.node) == 1) is is_one


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.act = nn.Hardswish()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.act(self.conv(x)).chunk(2, 1)
        return torch.cat([first, F.relu(second)], 1) + x


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.blocks(x))


def test_nodes_are_named_by_their_modules_and_onnxsim_keeps_that(tmp_path: Path) -> None:
    names = [
        *(f"blocks.{i}{end}" for i in (0, 1) for end in (".conv/Conv", ".act/HardSwish", *("/Split", "/Relu"))),
        *(f"blocks.{i}{end}" for i in (0, 1) for end in ("/Concat", "/Add")),
        "Relu",
    ]
    made = write(Nested(), tmp_path / "a.onnx")
    simplify(tmp_path / "a.onnx", tmp_path / "b.onnx", tmp_path)
    for model in (made, onnx.load(tmp_path / "b.onnx")):
        assert sorted(node.name for node in model.graph.node) == sorted(names)


def test_nodes_of_one_module_and_kind_are_numbered(tmp_path: Path) -> None:
    made = write(Calls(lambda x: F.relu(x) + F.relu(-x)), tmp_path / "a.onnx")
    assert Counter(node.name for node in made.graph.node) == Counter(["Relu", "Neg", "Relu_1", "Add"])


def test_all_constants_are_tensors_that_onnxsim_reads(tmp_path: Path) -> None:
    """Of a reshape, a slice, a convolution without a bias and a clamp the exporter has them as numbers."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), Calls(lambda x: x[:, 1:].reshape(1, -1).clamp(0, 1)))
    made = write(model, tmp_path / "a.onnx")
    assert "Constant" not in kinds(made)
    simplify(tmp_path / "a.onnx", tmp_path / "b.onnx", tmp_path)


def test_a_transposed_convolution_says_its_kernel(tmp_path: Path) -> None:
    """The attribute is optional, and onnx2tf 2.6.9 cannot do without."""
    model = write(nn.ConvTranspose2d(X.shape[1], 4, (2, 3), stride=2), tmp_path / "m.onnx")
    [node] = model.graph.node
    given = {attribute.name: list(attribute.ints) for attribute in node.attribute}
    assert (node.op_type, given["kernel_shape"]) == ("ConvTranspose", [2, 3])


def test_batch_norms_that_no_rewrite_folded_stay(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = write(nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)), tmp_path / "a.onnx")
    assert kinds(made) == ["Conv", "BatchNormalization"]


def test_outputs_have_their_names_whatever_is_called_so_inside(tmp_path: Path) -> None:
    def several(x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = F.relu(x)
        return {"add": y, "relu": y + 1, "again": y, "input_2": x}

    made = write(Calls(several), tmp_path / "a.onnx")
    assert [value.name for value in made.graph.output] == ["add", "relu", "again", "input_2"]
    assert [value.name for value in made.graph.input] == ["input"]


class Attention(nn.Module):
    """Attention with a table of positions, of which forward makes the bias."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.qkv, self.table = nn.Linear(4, 24), nn.Parameter(torch.randn(2, 100))
        self.register_buffer("places", torch.arange(36 * 36).reshape(36, 36) % 100)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(tokens).reshape(1, 36, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        made = F.scaled_dot_product_attention(q, k, v, attn_mask=self.table[:, self.places].unsqueeze(0))
        return made.transpose(1, 2).reshape(1, 36, 8)


def test_attention_with_a_computed_bias(tmp_path: Path) -> None:
    assert "Softmax" in kinds(write(Attention(), tmp_path / "a.onnx"))


class AttentionOf(nn.Module):
    """Attention of tensors with any number of axes, of which a mask may have fewer."""

    def __init__(self, leading: tuple[int, ...], mask: tuple[int, ...] | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.leading = leading
        self.mask = None if mask is None else nn.Parameter(torch.randn(*mask, 6, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = x.reshape(3, *self.leading, 6, -1).unbind(0)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask)


@pytest.mark.parametrize(
    ("leading", "mask"),
    [((4,), (4,)), ((4,), None), ((2, 2), (2,)), ((2, 1, 4), (2, 1, 1)), ((2, 2, 2), (2,)), ((2, 2, 1, 2), None)],
)
def test_attention_of_any_number_of_axes(
    leading: tuple[int, ...], mask: tuple[int, ...] | None, tmp_path: Path
) -> None:
    assert "Softmax" in kinds(write(AttentionOf(leading, mask), tmp_path / "a.onnx"))


class Recurrent(nn.Module):
    """A recurrent layer over six steps of four rows."""

    def __init__(self, kind: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = kind(6, 5, **options)

    def forward(self, x: torch.Tensor) -> Any:
        return self.layer(x.reshape(4, 6, 6))[0]


@pytest.mark.parametrize(
    "net",
    [
        Recurrent(nn.LSTM, bidirectional=True, batch_first=True),
        Recurrent(nn.LSTM, num_layers=2),
        Recurrent(nn.GRU, bidirectional=True),
        Recurrent(nn.RNN, nonlinearity="relu", bias=False),
        Recurrent(nn.RNN),
    ],
)
def test_recurrent_layers_have_no_state_that_is_left(net: Recurrent, tmp_path: Path) -> None:
    found = kinds(write(net, tmp_path / "a.onnx"))
    assert "MatMul" in found
    assert not {"LSTM", "GRU", "RNN", "Loop", "Scan"} & set(found)


NET = """
import sys
from pathlib import Path

import torch
from torch import nn

from mobilekit.convert.onnx import write_onnx
from mobilekit.rewrites.fx.graph import trace

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(4, 4, 3)

    def forward(self, x):
        return torch.relu(self.conv(x)).mean((2, 3)), x.chunk(2, 1)

def write(path):
    shape = (1, 4, 6, 6)
    write_onnx(trace(Net(), {"input": torch.zeros(shape)}), {"input": shape}, path)

if __name__ == "__main__":
    write(Path("net.onnx"))
"""


def test_two_places_write_the_same_bytes_and_say_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    here, there = tmp_path / "here", tmp_path / "further" / "away"
    for folder in (here, there):
        folder.mkdir(parents=True)
        (folder / "net.py").write_text(NET)
    runpy.run_path(str(here / "net.py"))["write"](here / "net.onnx")
    assert capfd.readouterr() == ("", "")
    done = subprocess.run([sys.executable, "net.py"], cwd=there, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    made = (here / "net.onnx").read_bytes()
    assert made == (there / "net.onnx").read_bytes()
    assert onnx.load_from_string(made).producer_version == torch.__version__.partition("+")[0]
    assert not any(word in made for word in (b"net.py", b"mobilekit", b"Net", bytes(tmp_path)))
