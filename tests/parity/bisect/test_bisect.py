"""Where a candidate departs from its reference: faults planted in ONNX files, each named by its module."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mobilekit.artifacts.analysis.cut_onnx import cut_onnx
from mobilekit.convert.onnx import write_onnx
from mobilekit.parity.bisect.bisect import Findings, bisect
from mobilekit.parity.bisect.layouts import distance, layouts_between
from mobilekit.parity.bisect.observed import observe
from mobilekit.parity.bisect.regions import Islands
from mobilekit.parity.bisect.reproduction import reproduce, write_reproduction
from mobilekit.parity.bisect.simulate import onnx_format_errors, onnx_yardstick, torch_yardstick
from mobilekit.parity.bisect.steps import TorchSteps
from mobilekit.parity.bisect.tolerance import rounding
from mobilekit.rewrites.fx.graph import trace
from tests.faulty_nets import MODULES, SIZE, make

X = np.random.default_rng(0).standard_normal((1, 3, SIZE, SIZE), dtype=np.float32)


def write(model: nn.Module, path: Path) -> Path:
    write_onnx(trace(model, {"input": torch.from_numpy(X)}), {"input": X.shape}, path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the net as ONNX with a fault, or right with the name `good`."""
    folder = tmp_path_factory.mktemp("faulty")

    def file(fault: str) -> Path:
        path = folder / f"{fault}.onnx"
        if not path.exists():
            write(make("" if fault == "good" else fault), path)
            if fault == "up":
                half_pixel_centers(path)
        return path

    return file


def half_pixel_centers(path: Path) -> None:
    model = onnx.load(path)
    (resize,) = [node for node in model.graph.node if node.op_type == "Resize"]
    attributes = {attribute.name: attribute for attribute in resize.attribute}
    attributes["coordinate_transformation_mode"].s = b"half_pixel"
    attributes["nearest_mode"].s = b"round_prefer_floor"
    onnx.save(model, path)


def beside_torch(path: Path, model: nn.Module | None = None) -> Islands:
    graph = trace(model or make(), {"input": torch.from_numpy(X)})
    seen = observe(path, {"input": ("input", X)}, ["logits"])
    return Islands(seen, torch_yardstick(graph, "float32", {"input": X}))


def found(islands: Islands) -> list[tuple[str, ...]]:
    return [fault.modules for fault in bisect(islands).faults]


@pytest.mark.parametrize("fault", MODULES)
def test_each_planted_fault_is_named_by_its_module(fault: str, files: Callable[[str], Path]) -> None:
    assert found(beside_torch(files(fault))) == [MODULES[fault]]


@pytest.mark.parametrize(
    ("fault", "nodes"),
    [
        ("up", ("up/Resize",)),
        ("act", ("act/HardSwish",)),
        ("shuffle", ("shuffle/Transpose",)),
        ("norm", ("norm/BatchNormalization", "after/Conv")),
        ("pool", ("pool/Pad",)),
    ],
)
def test_beside_an_onnx_reference_the_node_is_named(
    fault: str, nodes: tuple[str, ...], files: Callable[[str], Path]
) -> None:
    seen = observe(files(fault), {"input": ("input", X)}, ["logits"])
    islands = Islands(seen, onnx_yardstick(onnx.load(files("good")), "float32", {"input": X}))
    assert found(islands) == [nodes]


def test_a_right_artifact_has_no_fault_and_every_tensor_is_known(files: Callable[[str], Path]) -> None:
    findings = bisect(beside_torch(files("good")))
    assert findings == Findings((), findings.of, findings.of)


def test_two_faults_are_told_apart(tmp_path: Path) -> None:
    net: Any = make("act")
    net.shuffle = make("shuffle").shuffle
    assert found(beside_torch(write(net, tmp_path / "two.onnx"))) == [("act",), ("shuffle",)]


def test_a_step_that_is_missing_is_named_alone(tmp_path: Path) -> None:
    net: Any = make()
    net.act = nn.Identity()
    (fault,) = bisect(beside_torch(write(net, tmp_path / "missing.onnx"))).faults
    assert (fault.modules, fault.is_missing) == (("act",), True)


class OverAxes(nn.Module):
    """A map with its channels last, all axes of one length, by its norm over two of them."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.axes, self.conv, self.head = axes, nn.Conv2d(3, SIZE // 2, 3, 2, 1), nn.Linear(SIZE // 2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x).permute(0, 2, 3, 1)
        return self.head(y / torch.norm(y, dim=self.axes, keepdim=True)).mean((1, 2))


def test_an_op_that_is_right_is_not_accused_for_what_reads_it(tmp_path: Path) -> None:
    """Sums over other axes could as well be those of a map that was turned: but that map holds what it should."""
    path = write(OverAxes((1, 3)), tmp_path / "axes.onnx")
    first = bisect(beside_torch(path, OverAxes((1, 2)))).faults[0]
    assert not first.is_missing and first.modules[0] == "linalg_vector_norm"


def test_a_fault_at_the_end_is_found(tmp_path: Path) -> None:
    net: Any = make()
    with torch.no_grad():
        net.head.weight[3] *= 2
    assert found(beside_torch(write(net, tmp_path / "end.onnx"))) == [("head",)]


def test_wrong_weights_are_named(tmp_path: Path) -> None:
    net: Any = make()
    with torch.no_grad():
        net.down.weight.copy_(net.down.weight.transpose(2, 3).clone())
    assert found(beside_torch(write(net, tmp_path / "weights.onnx"))) == [("down",)]


def test_what_is_right_includes_the_activation_in_the_op(tmp_path: Path) -> None:
    """As one op gives the ReLU of a sum, the sum is not what it should give, though what follows could take it."""
    net: Any = make()
    with torch.no_grad():
        net.after.weight *= 2
    path = write(net, tmp_path / "fused.onnx")
    model = onnx.load(path)
    conv = next(node for node in model.graph.node if node.name == "after/Conv")
    relu = next(node for node in model.graph.node if conv.output[0] in node.input)
    function = onnx.helper.make_function(
        "ours", "ConvRelu", ["x", "w", "b"], ["y"],
        [
            onnx.helper.make_node("Conv", ["x", "w", "b"], ["s"], pads=[1, 1, 1, 1]),
            onnx.helper.make_node("Relu", ["s"], ["y"]),
        ],
        list(model.opset_import),
    )  # fmt: skip
    model.functions.append(function)
    model.opset_import.append(onnx.helper.make_opsetid("ours", 1))
    conv.op_type, conv.domain = "ConvRelu", "ours"
    del conv.attribute[:]
    conv.output[0] = relu.output[0]
    model.graph.node.remove(relu)
    onnx.save(model, path)
    (fault,) = bisect(beside_torch(path)).faults
    assert (fault.steps, fault.modules[0]) == (("after", "relu"), "after")


class Normal(nn.Module):
    """A net that ONNX has in many small nodes."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.groups = nn.Conv2d(3, 16, 3, 2), nn.GroupNorm(4, 16)
        self.act, self.layer, self.head = activation, nn.LayerNorm(16), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(self.act(self.groups(self.conv(x))).mean((2, 3))))


class Logarithm(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(x)


@pytest.mark.parametrize(
    ("activation", "modules"),
    [(nn.GELU(), []), (nn.GELU("tanh"), [("act",)]), (Logarithm(), [("act",)])],
    ids=["right", "approximated", "not a number"],
)
def test_what_is_many_nodes_is_one_module(
    activation: nn.Module, modules: list[tuple[str, ...]], tmp_path: Path
) -> None:
    path = write(Normal(activation).eval(), tmp_path / "normal.onnx")
    assert found(beside_torch(path, Normal(nn.GELU()).eval())) == modules


def test_an_op_that_gives_another_size_is_within_what_is_named(tmp_path: Path) -> None:
    class Cropped(Normal):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.layer(self.act(self.groups(self.conv(x)[:, :, 1:])).mean((2, 3))))

    path = write(Cropped(nn.GELU()).eval(), tmp_path / "cropped.onnx")
    (fault,) = bisect(beside_torch(path, Normal(nn.GELU()).eval())).faults
    assert fault.modules == ("groups", "act", "mean")


class Branches(nn.Module):
    """A residual sum, a concatenation, and a gate that several layers read."""

    def __init__(self, drop: str = "") -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.gate, self.c = nn.Conv2d(8, 8, 1), nn.Conv2d(16, 10, 1)
        self.drop = drop

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.a(x).relu()
        b = self.b(a) if self.drop == "sum" else a + self.b(a)
        gate = torch.sigmoid(self.gate(a.mean((2, 3), keepdim=True)))
        parts = [a * gate, b] if self.drop != "order" else [b, a * gate]
        return self.c(torch.cat(parts, 1)).mean((2, 3))


@pytest.mark.parametrize(("drop", "step"), [("sum", "add"), ("order", "cat")])
def test_faults_where_branches_meet(drop: str, step: str, tmp_path: Path) -> None:
    def net(drop: str) -> nn.Module:
        torch.manual_seed(1)
        return Branches(drop).eval()

    (fault,) = bisect(beside_torch(write(net(drop), tmp_path / "branches.onnx"), net(""))).faults
    assert fault.steps == (step,)


@pytest.mark.parametrize("fault", ["up", "norm"])
def test_the_script_shows_the_fault_without_mobilekit(fault: str, files: Callable[[str], Path], tmp_path: Path) -> None:
    islands = beside_torch(files(fault))
    (what,) = bisect(islands).faults
    made = reproduce(islands, what, files(fault))
    assert made.is_local
    write_reproduction(tmp_path, made, "A fault.", "text")
    script = (tmp_path / "reproduce.py").read_text()
    assert "mobilekit" not in script
    assert len(script.splitlines()) <= 25
    done = subprocess.run([sys.executable, "-I", tmp_path / "reproduce.py"], capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (1, "wrong")
    assert f"relative L2 {made.error:.3g}" in done.stdout


def test_a_fault_is_cut_out_under_the_options_under_which_it_was_found(
    files: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime's own rewrites may take a fault away, or make one."""
    import onnxruntime

    levels: list[Any] = []
    open_session = onnxruntime.InferenceSession

    def watched(model: Any, options: Any = None, **more: Any) -> Any:
        levels.append((options or onnxruntime.SessionOptions()).graph_optimization_level)
        return open_session(model, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", watched)
    islands = beside_torch(files("norm"))
    (what,) = bisect(islands).faults
    found = set(levels)
    levels.clear()
    made = reproduce(islands, what, files("norm"))
    write_reproduction(tmp_path, made, "A fault.", "text")
    with pytest.raises(SystemExit, match="wrong"):
        runpy.run_path(str(tmp_path / "reproduce.py"))
    assert len(levels) == 2 and {*levels} == found == {onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL}
    assert "GraphOptimizationLevel.ORT_DISABLE_ALL" in (tmp_path / "reproduce.py").read_text()


def test_the_script_passes_once_the_fault_is_mended(files: Callable[[str], Path], tmp_path: Path) -> None:
    islands = beside_torch(files("act"))
    (what,) = bisect(islands).faults
    write_reproduction(tmp_path, reproduce(islands, what, files("act")), "A fault.", "text")
    model = onnx.load(tmp_path / "candidate.onnx")
    model.graph.node[0].op_type = "HardSwish"
    del model.graph.node[0].attribute[:]
    onnx.save(model, tmp_path / "candidate.onnx")
    done = subprocess.run([sys.executable, "-I", tmp_path / "reproduce.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_cut_onnx_gives_what_the_whole_has_there(files: Callable[[str], Path]) -> None:
    import onnxruntime

    seen = observe(files("good"), {"input": ("input", X)}, ["logits"])
    first, last = seen.ops[1].outputs[0], seen.ops[6].outputs[0]
    shapes = {name: array.shape for name, array in seen.values.items()}
    content = cut_onnx(onnx.load(files("good")), [first], [last], shapes)
    (got,) = onnxruntime.InferenceSession(content).run(None, {first: seen.values[first]})
    np.testing.assert_allclose(got, seen.values[last], rtol=1e-5, atol=1e-6)
    assert len(onnx.load_from_string(content).graph.node) < len(onnx.load(files("good")).graph.node)


def test_steps_in_place_leave_what_they_read() -> None:
    class InPlace(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x + 1).relu_() * 2

    steps = TorchSteps(trace(InPlace(), {"input": torch.from_numpy(X)}), {"input": X})
    np.testing.assert_array_equal(steps.cached["add"].numpy(), X + 1)
    np.testing.assert_array_equal(steps.cached["mul"].numpy(), np.maximum(X + 1, 0) * 2)


@given(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.booleans())
def test_a_layout_goes_there_and_back(shape: list[int], is_last: bool) -> None:
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    other = np.moveaxis(array, 1, -1) if is_last else array
    layouts = layouts_between(array.shape, other.shape)
    assert any(np.array_equal(layout.to_candidate(array), other) for layout in layouts)
    for layout in layouts:
        np.testing.assert_array_equal(layout.to_reference(layout.to_candidate(array)), array)


@given(st.floats(1e-3, 1e-1), st.integers(0, 2**16))
def test_the_noise_of_rounding_is_what_rounding_does(step: float, seed: int) -> None:
    array = np.random.default_rng(seed).standard_normal(4096).astype(np.float32)
    rounded = (np.round(array / step) * step).astype(np.float32)
    assert rounding(array, step) == pytest.approx(distance(array, rounded), rel=0.1)


def test_distances_of_odd_values() -> None:
    zero, one = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert distance(zero, zero) == 0
    assert distance(zero, one) == np.inf
    assert distance(one, one * np.nan) == np.inf
    assert distance(2 * one, one) == pytest.approx(0.5)


def test_noise_of_an_onnx_model_is_near_that_of_the_same_in_pytorch(files: Callable[[str], Path]) -> None:
    from mobilekit.artifacts.pytorch import TorchRuntime
    from mobilekit.parity.ledger.format_error import measure_format_errors

    inputs = {"input": np.random.default_rng(3).standard_normal((1, 3, SIZE, SIZE), dtype=np.float32)}
    model = make()
    graph = trace(model, {"input": torch.from_numpy(X)})
    outputs = TorchRuntime(model).run(inputs)
    truth = measure_format_errors(model, graph, inputs, outputs, outputs)["logits"]
    noise = onnx_format_errors(onnx.load(files("good")), inputs, "int8")["logits"]
    assert noise.scale == pytest.approx(truth.scale, rel=1e-5)
    assert noise.float16_relative_l2 == pytest.approx(truth.float16_relative_l2, rel=0.2)
    assert 0.3 < noise.float32_relative_l2 / truth.float32_relative_l2 < 3
    assert 0.5 < noise.int8_relative_l2 / truth.int8_relative_l2 < 2
