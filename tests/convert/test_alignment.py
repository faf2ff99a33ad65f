"""Which module each TFLite tensor comes from: the filters' own values say, and files made up to be awkward."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from torch import nn
from torch.nn import functional as F

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.bench.kinds import read_ops
from mobilekit.convert import alignment
from mobilekit.convert.alignment import Alignment, align
from mobilekit.rewrites.fx.graph import trace
from mobilekit.store.bundle import MODULES
from mobilekit.store.stages import Stage
from tests.converting import Converted, normal

Floats = NDArray[np.float32]
LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def owner_of(filters: Floats, weights: dict[str, Floats]) -> list[str]:
    """Return the modules whose weights a TFLite filter holds, but for one factor that a converter may have folded in.

    TFLite has convolutions as (out, y, x, in), depthwise ones as (1, y, x, out), dense layers as PyTorch.
    """

    def direction(array: Floats) -> Floats:
        return array.ravel() / np.linalg.norm(array)

    found = []
    for name, weight in weights.items():
        forms = {4: [(0, 2, 3, 1), (1, 2, 3, 0)], 2: [(0, 1)]}.get(weight.ndim, [])
        layouts = [weight.transpose(form) for form in forms]
        same = [layout for layout in layouts if layout.shape == filters.shape]
        if any(np.allclose(direction(layout), direction(filters), atol=1e-6) for layout in same):
            found.append(name.removesuffix(".weight"))
    return found


def filters_of(path: Path) -> dict[str, Floats]:
    """Return the filter of each layer of a float32 file, by the name of the tensor that it makes."""
    interpreter = LiteRTRuntime(path, keep_tensors=True).interpreter
    names = {detail["index"]: detail["name"] for detail in interpreter.get_tensor_details()}
    layers = [op for op in interpreter._get_ops_details() if op["op_name"] in LAYERS]
    return {names[int(op["outputs"][0])]: interpreter.get_tensor(int(op["inputs"][1])) for op in layers}


def test_each_layer_belongs_to_the_module_whose_weights_it_holds(digits_bundle: Path) -> None:
    modules = json.loads((digits_bundle / MODULES).read_text())["modules"]
    weights = load_file(digits_bundle / Stage.REWRITTEN.file)
    filters = filters_of(digits_bundle / "model.float32.tflite")
    assert len(filters) == 152
    owners = {name: owner_of(array, weights) for name, array in filters.items()}
    pools = {name for name in filters if "avg_pool2d" in modules[name]}  # all alike, a quarter everywhere
    assert len(pools) == 14
    assert all(modules[name] in owners[name] for name in pools)
    assert len({modules[name] for name in pools}) == 14
    assert {name: [modules[name]] for name in filters if name not in pools} == {
        name: paths for name, paths in owners.items() if name not in pools
    }


def test_all_precisions_agree_on_every_op(digits_bundle: Path) -> None:
    known = json.loads((digits_bundle / MODULES).read_text())
    told = {
        precision: [
            (op.op, op.module)
            for op in read_ops(digits_bundle / f"model.{precision}.tflite", known)
            if op.op not in ("QUANTIZE", "DEQUANTIZE")
        ]
        for precision in ("float32", "float16", "dynamic", "int8")
    }
    assert len(told["float32"]) == 303
    assert all(module is not None for _, module in told["float32"])
    assert told["float16"] == told["dynamic"] == told["int8"] == told["float32"]


def test_unpacked_weights_belong_to_the_layer_that_takes_them(digits_bundle: Path) -> None:
    known = json.loads((digits_bundle / MODULES).read_text())
    interpreter = LiteRTRuntime(digits_bundle / "model.float16.tflite", keep_tensors=True).interpreter
    details = interpreter._get_ops_details()
    ops = read_ops(digits_bundle / "model.float16.tflite", known)
    users = {int(index): op for op, detail in zip(ops, details, strict=True) for index in detail["inputs"]}
    unpackers = [
        (op, users[int(detail["outputs"][0])]) for op, detail in zip(ops, details, strict=True) if op.op == "DEQUANTIZE"
    ]
    assert len(unpackers) == 286
    own = [(op, user) for op, user in unpackers if "avg_pool2d" not in str(user.module)]  # pools share their weights
    assert [op.module for op, _ in own] == [user.module for _, user in own]


def test_the_classes_are_those_of_the_model(digits_bundle: Path) -> None:
    classes = json.loads((digits_bundle / MODULES).read_text())["classes"]
    assert classes["blocks.0.0"] == "GhostBottleneck"
    assert classes["blocks.0.0.ghost1.primary_conv"] == "ConvBnAct"
    assert "DFCAttention" in classes.values()


Op = tuple[list[str], list[str]]


def aligned(
    model: nn.Module, ops: Sequence[Op], tensors: dict[str, Floats], x: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> Alignment:
    """Align a model with a file that is made up: its ops, and the values of what they make."""
    monkeypatch.setattr(alignment, "_run_tflite", lambda _path, _inputs: (list(ops), tensors))
    return align(trace(model, {"input": x}), Path("made-up.tflite"), {"input": x.numpy()})


def noisy(value: torch.Tensor) -> Floats:
    """Return a value as another kernel computes it."""
    array = value.detach().numpy()
    return (array * (1 + 1e-6 * np.random.default_rng(0).standard_normal(array.shape))).astype(np.float32)


def nhwc(value: torch.Tensor) -> Floats:
    return np.ascontiguousarray(noisy(value).transpose(0, 2, 3, 1))


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Two convolutions with batch norms, functions between them, and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.body = nn.Conv2d(6, 6, 1)
        self.head = nn.Linear(6, 4)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = F.relu(self.body(x)) + x
        return self.head(x.mean((2, 3)))


def test_fused_steps_belong_to_their_layer(x: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net()
    stem = net.stem(x)
    body = F.relu(net.body(stem))
    added = body + stem
    mean = added.mean((2, 3))
    tensors = {
        "pad": np.pad(nhwc(x), ((0, 0), (1, 1), (1, 1), (0, 0))),
        "stem": nhwc(stem),
        "body": nhwc(body),
        "add": nhwc(added),
        "mean": noisy(mean),
        "logits": noisy(net.head(mean)),
    }
    ops: list[Op] = [
        (["input"], ["pad"]),
        (["pad"], ["stem"]),
        (["stem"], ["body"]),
        (["body", "stem"], ["add"]),
        (["add"], ["mean"]),
        (["mean"], ["logits"]),
    ]
    found = aligned(net, ops, tensors, x, monkeypatch)
    assert found.modules == {
        "pad": "stem.0",  # it has no step of its own, and the convolution uses it
        "stem": "stem.0",  # with its batch norm and ReLU
        "body": "body",  # with F.relu
        "add": "add",
        "mean": "mean",
        "logits": "head",
    }
    assert found.classes["stem"] == "Sequential" and found.classes["head"] == "Linear"
    assert json.loads(json.dumps(found.to_json())) == found.to_json()


class Transposed(nn.Module):
    """Moves channels to the end, where a converter to NHWC needs no op."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.first = nn.Conv2d(3, 5, 1)
        self.second = nn.Linear(5, 7)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        moved = self.first(x).permute(0, 2, 3, 1)
        return self.second(moved).mean(1).transpose(1, 2)


def test_layouts_do_not_matter(x: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Transposed()
    first = net.first(x)
    second = net.second(first.permute(0, 2, 3, 1))
    tensors = {
        "conv": nhwc(first),
        "dense": noisy(second.reshape(64, 7)),  # all pixels as one batch
        "mean": noisy(second.mean(1)),
        "out": noisy(second.mean(1).transpose(1, 2)),
    }
    ops: list[Op] = [(["input"], ["conv"]), (["conv"], ["dense"]), (["dense"], ["mean"]), (["mean"], ["out"])]
    assert aligned(net, ops, tensors, x, monkeypatch).modules == {
        "conv": "first",
        "dense": "second",
        "mean": "mean",
        "out": "transpose",
    }


@pytest.mark.parametrize("is_turned", [False, True], ids=["as in PyTorch", "channels last"])
def test_tokens_may_stand_in_either_order(is_turned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(4)
    net = nn.Sequential(nn.Conv1d(3, 5, 1), nn.Conv1d(5, 6, 1)).eval()
    x = torch.randn(1, 3, 7)
    first = net[0](x)
    values = {"first": noisy(first), "second": noisy(net[1](first))}
    tensors = {name: np.swapaxes(value, 1, 2).copy() if is_turned else value for name, value in values.items()}
    ops: list[Op] = [(["input"], ["first"]), (["first"], ["second"])]
    assert aligned(net, ops, tensors, x, monkeypatch).modules == {"first": "0", "second": "1"}


class Positive(nn.Module):
    """A ReLU that changes nothing, as what it takes is positive; and two branches that compute the same."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv = nn.Conv2d(3, 4, 1)
        self.act = nn.ReLU()
        self.one = nn.Conv2d(4, 4, 1)
        self.two = nn.Conv2d(4, 4, 1)
        self.two.load_state_dict(self.one.state_dict())
        nn.init.constant_(self.conv.bias, 100)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.conv(x))
        return torch.cat([self.one(x), self.two(x)], 1)


def test_tensors_of_the_same_values_go_to_one_step_each(x: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Positive()
    conv = net.conv(x)
    assert torch.equal(conv, net.act(conv))
    one = net.one(conv)
    tensors = {"a": nhwc(conv), "b": nhwc(conv), "c": nhwc(one), "d": nhwc(one), "e": nhwc(torch.cat([one, one], 1))}
    ops: list[Op] = [(["input"], ["a"]), (["a"], ["b"]), (["b"], ["c"]), (["b"], ["d"]), (["c", "d"], ["e"])]
    found = aligned(net, ops, tensors, x, monkeypatch)
    assert found.modules == {"a": "conv", "b": "act", "c": "one", "d": "two", "e": "cat"}


def test_a_branch_that_a_converter_computes_once(x: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Positive()
    conv = net.conv(x)
    one = net.one(conv)
    tensors = {"a": nhwc(conv), "c": nhwc(one), "e": nhwc(torch.cat([one, one], 1))}
    ops: list[Op] = [(["input"], ["a"]), (["a"], ["c"]), (["c", "c"], ["e"])]
    found = aligned(net, ops, tensors, x, monkeypatch)
    assert found.modules == {"a": "conv", "c": "one", "e": "cat"}


def test_what_no_step_gives_belongs_to_its_user_or_else_to_its_maker(
    x: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net()
    stem = net.stem(x)
    odd = np.zeros((1, 5), np.float32)
    tensors = {"odd1": odd, "odd2": odd, "stem": nhwc(stem), "odd3": odd, "odd4": odd}
    ops: list[Op] = [
        (["input"], ["odd1"]),
        (["odd1"], ["odd2"]),
        (["odd2"], ["stem"]),
        (["stem"], ["odd3"]),
        (["odd3"], ["odd4"]),
    ]
    found = aligned(net, ops, tensors, x, monkeypatch)
    assert found.modules == dict.fromkeys(tensors, "stem.0")


def test_a_file_that_has_nothing_in_common_is_aligned_with_nothing(
    x: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = np.random.default_rng(5).standard_normal((1, 8, 8, 6)).astype(np.float32)
    tensors = {"a": other, "b": np.full((1, 8, 8, 6), np.nan, np.float32), "c": np.zeros((1, 8, 8, 6), np.float32)}
    ops: list[Op] = [(["input"], ["a"]), (["a"], ["b"]), (["b"], ["c"])]
    assert aligned(Net(), ops, tensors, x, monkeypatch).modules == {}


class TwinBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.hardswish(self.mix(self.depthwise(x))) + x


class Twins(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.left, self.right = TwinBlock(8), TwinBlock(8)
        self.right.load_state_dict(self.left.state_dict())
        self.tokens = nn.Linear(16, 12)
        self.head = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu() * 2
        x = torch.cat([self.left(x), self.right(x)], 1)
        x = self.tokens(x.flatten(2).transpose(1, 2)).softmax(2)
        return self.head(x.mean(1))


@pytest.mark.slow
def test_a_model_of_functions_twin_branches_and_transpositions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = Converted(Twins(), (3, 32, 32), tmp_path)
    told = align(made.graph, made.float32, {"input": normal(1, 3, 32, 32)}).to_json()
    weights = {name: tensor.numpy() for name, tensor in made.model.state_dict().items()}
    owners = {name: owner_of(array, weights) for name, array in filters_of(made.float32).items()}
    # The twins hold the same weights; whatever the converter made of them, each layer is one of its holders'.
    assert all(told["modules"][name] in names for name, names in owners.items() if names)
    assert {"stem", "tokens", "head"} <= {told["modules"][name] for name in owners}
    ops = read_ops(made.float32, told)
    assert all(op.module is not None for op in ops)
    assert {op.op: op.module for op in ops}["SOFTMAX"] == "softmax"
    assert {op.module for op in ops if op.op == "DEPTHWISE_CONV_2D"} <= {"left.depthwise", "right.depthwise"}
    assert told["classes"]["left"] == "TwinBlock"


def test_of_steps_as_close_the_first_that_is_free_is_taken() -> None:
    same: Callable[..., Any] = alignment._same
    value = np.ones((1, 2), np.float32)
    candidates = [("first", value), ("second", value), ("near", value * 1.0001), ("far", value * 1.1)]
    assert same(value, candidates, set()) == ["first", "second", "near"]
    assert same(value, candidates, {"first"}) == ["second", "first", "near"]
    assert same(value, candidates, {"first", "second"}) == ["second", "first", "near"]
    assert same(value * 1.0001, candidates, set())[0] == "near"
    assert same(value * 2, candidates, set()) == []
