"""ONNX files in QDQ form: our ranges and biases in what ONNX Runtime's quantizer writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn
from torch.nn import functional as F

from mobilekit.artifacts.analysis.precision import precision_of
from mobilekit.artifacts.onnx import OnnxRuntime, open_session
from mobilekit.convert.byte_inputs import give_onnx_bytes
from mobilekit.convert.int8.onnx_qdq import OnnxGraph, choose_rules, correct_biases, nodes_to_keep, observe
from mobilekit.convert.int8.ranges import WHOLE, WITH_ROOM
from mobilekit.convert.onnx import quantize_onnx, write_onnx
from mobilekit.convert.tasks.quantize_onnx import OnnxQuantizer
from mobilekit.parity.ledger.rounding import round_weights_to_int8
from mobilekit.recipes.schema import FloatPart, Int8
from mobilekit.rewrites.fx.graph import trace
from tests.converting import normal

pytestmark = pytest.mark.slow

SHAPE = (3, 12, 12)
COUNT = 32
PLAIN = {**Int8(correct_bias=False, ranges="min-max").model_dump(mode="json")}


class Net(nn.Module):
    """Each kind of layer with weights and a bias, one without, a quotient, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.depthwise = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Conv2d(8, 8, 3, 2, groups=8)
        self.up, self.dense = nn.ConvTranspose2d(8, 6, 2, 2), nn.Linear(6, 5)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = F.hardswish(self.depthwise(self.first(image).relu()))
        hidden = self.up(hidden / (hidden.abs().mean((2, 3), keepdim=True) + 1))
        return {"scores": self.dense(hidden.mean((2, 3))), "map": hidden.flatten(2)}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("qdq") / "net.onnx"
    write_onnx(trace(Net().eval(), {"input": torch.zeros(1, *SHAPE)}), {"input": (1, *SHAPE)}, made)
    return made


def quantizer(path: Path, **settings: Any) -> OnnxQuantizer:
    return OnnxQuantizer(onnx.load(path), {"input": normal(COUNT, *SHAPE)}, [], {**PLAIN, **settings})


def run(model: Any, name: str) -> NDArray[np.float32]:
    session = open_session(model.SerializeToString())
    return np.concatenate([session.run([name], {"input": one[None]})[0] for one in normal(COUNT, *SHAPE)])


def constants(model: Any) -> dict[str, NDArray[Any]]:
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def test_with_16_bits_a_file_is_the_net_with_rounded_weights(path: Path) -> None:
    rounded, inputs = Net().eval(), torch.from_numpy(normal(COUNT, *SHAPE))
    round_weights_to_int8(rounded)
    with torch.no_grad():
        exact, wanted = (net(inputs)["map"].numpy() for net in (Net().eval(), rounded))
    made = run(quantizer(path).model("int16x8")[0], "map")
    lost = np.linalg.norm(exact - wanted)
    assert lost > 2e-3 * np.linalg.norm(exact)
    assert np.linalg.norm(made - wanted) < 0.05 * lost


def test_weights_are_int8_with_a_scale_for_each_channel_and_values_int8_in_the_range_seen(path: Path) -> None:
    model = quantizer(path).model("int8")[0]
    onnx.checker.check_model(model)
    held = constants(model)
    weights = {name: array for name, array in held.items() if array.dtype == np.int8 and array.ndim > 1}
    assert len(weights) == 4
    readers = {node.input[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    assert sorted(len(held[readers[name].input[1]]) for name in weights) == [5, 6, 8, 8]
    (first,) = (node for node in model.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "input")
    inputs = normal(COUNT, *SHAPE)
    assert held[first.input[1]] == pytest.approx((inputs.max() - inputs.min()) / 255, rel=1e-6)
    assert held[first.input[2]].dtype == np.int8


def test_files_tell_their_precision(path: Path, tmp_path: Path) -> None:
    made = quantizer(path)
    for precision in ("int8", "int16x8"):
        onnx.save(made.model(precision)[0], tmp_path / "model.onnx")
        assert precision_of(tmp_path / "model.onnx") == precision


def test_corrected_biases_keep_each_layers_mean(path: Path) -> None:
    """By torch: a layer with rounded weights and the bias of the file has the mean that the float layer has."""
    graph, inputs = OnnxGraph(onnx.load(path)), torch.from_numpy(normal(COUNT, *SHAPE))
    observed = observe(graph, {"input": inputs.numpy()})
    held = constants(correct_biases(graph, observed.means))
    corrected = {name.partition("/")[0]: array for name, array in held.items() if name.endswith("corrected_bias")}
    assert corrected.keys() == {"first", "depthwise", "up", "dense"}
    exact, rounded = Net().eval(), Net().eval()
    round_weights_to_int8(rounded)
    values: dict[str, torch.Tensor] = {}
    for name, layer in exact.named_children():
        layer.register_forward_pre_hook(lambda _layer, taken, name=name: values.update({name: taken[0]}))
    with torch.no_grad():
        exact(inputs)
        for name, taken in values.items():
            layer = rounded.get_submodule(name)
            layer.bias = nn.Parameter(torch.from_numpy(corrected[name].copy()))
            axes = [axis for axis in range(taken.ndim) if axis != 1]
            before, after = (net(taken).mean(axes) for net in (exact.get_submodule(name), layer))
            torch.testing.assert_close(after, before, rtol=0, atol=1e-5)


def test_a_grouped_transposed_convolution_has_one_scale_and_a_bias_for_it(tmp_path: Path) -> None:
    """By torch: values of 16 bits leave what rounding its weights in one scale does, whose mean the bias takes up."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(8, 8, 2, 2, groups=4)).eval()
    write_onnx(trace(net, {"input": torch.zeros(1, *SHAPE)}), {"input": (1, *SHAPE)}, tmp_path / "net.onnx")
    made = quantizer(tmp_path / "net.onnx", correct_bias=True)
    held = constants(made.model("int8")[0])
    (stored,) = (array for name, array in held.items() if array.dtype == np.int8 and array.shape == (8, 2, 2, 2))
    (scale,) = (array for name, array in held.items() if name.endswith("2.weight_scale"))
    weight = net[2].weight.detach().numpy()
    assert scale.shape == ()
    assert np.abs(stored * scale - weight).max() <= np.abs(weight).max() / 254 * 1.001
    with torch.no_grad():
        exact = net(torch.from_numpy(normal(COUNT, *SHAPE))).numpy()
    error = run(made.model("int16x8")[0], "output") - exact
    assert np.linalg.norm(error) < 0.01 * np.linalg.norm(exact)
    assert np.abs(error.mean((0, 2, 3))).max() < 1e-4 * np.abs(exact).max()


def kept(path: Path, *words: str, modules: tuple[str, ...] = ()) -> set[str]:
    graph = OnnxGraph(onnx.load(path))
    return {graph.nodes[number].op_type for number in nodes_to_keep(graph, words, modules)}


def test_words_and_modules_of_a_recipe_stay_in_float(path: Path) -> None:
    assert kept(path) == set()
    assert kept(path, "hard-swish") == {"HardSwish"}
    division = kept(path, "division")
    assert {"Div", "Abs", "Add", "HardSwish"} <= division and not {"Conv", "ConvTranspose", "Relu"} & division
    assert kept(path, modules=("d*",)) == {"Conv", "Gemm"}
    model = quantizer(path, keep_float=["division"]).model("int8")[0]
    makers = {made: node.op_type for node in model.graph.node for made in node.output}
    (div,) = (node for node in model.graph.node if node.op_type == "Div")
    assert [makers[name] for name in div.input] == ["HardSwish", "Add"]


@pytest.mark.parametrize("word", get_args(FloatPart))
def test_every_word_of_a_recipe_is_known(path: Path, word: str) -> None:
    assert kept(path, word) <= {node.op_type for node in onnx.load(path).graph.node}


def test_layers_that_make_coordinates_stay_in_float_and_what_is_read_there(tmp_path: Path) -> None:
    class Warped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.places, self.first, self.last = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            grid = self.places(image).tanh().permute(0, 2, 3, 1)
            return self.last(F.grid_sample(self.first(image), grid, align_corners=False).relu())

    made = tmp_path / "net.onnx"
    write_onnx(trace(Warped().eval(), {"input": torch.zeros(1, *SHAPE)}), {"input": (1, *SHAPE)}, made)
    graph = OnnxGraph(onnx.load(made))
    names = {graph.nodes[number].name for number in nodes_to_keep(graph, ["coordinates"], ())}
    assert {name.partition("/")[0] for name in names if "Conv" in name} == {"places"}
    assert {"GridSample", "Relu", "Tanh"} <= {name.rpartition("/")[2] for name in names}


def test_means_of_places_that_a_softmax_weighs_stay_in_float(tmp_path: Path) -> None:
    class Places(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 2, 1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            shares = self.first(image).flatten(2).softmax(-1)
            return (shares * torch.linspace(-1, 1, shares.shape[-1])).sum(-1)

    made = tmp_path / "net.onnx"
    write_onnx(trace(Places().eval(), {"input": torch.zeros(1, *SHAPE)}), {"input": (1, *SHAPE)}, made)
    assert kept(made, "coordinates") >= {"Softmax", "Mul", "ReduceSum"}
    assert "Conv" not in kept(made, "coordinates")


def test_outputs_have_room_and_what_is_moved_to_them(path: Path) -> None:
    graph = OnnxGraph(onnx.load(path))
    observed = observe(graph, {"input": normal(COUNT, *SHAPE)})
    assert observed.runs == COUNT and len(observed.inputs) == len(observed.outputs) > 0
    (up,) = (node for node in graph.nodes if node.op_type == "ConvTranspose")
    rules = choose_rules(graph, observed.seen)
    assert rules["input"] == WHOLE
    assert {rules[name] for name in ("scores", "map", up.output[0])} == {WITH_ROOM}


def test_ranges_are_tried_on_inputs_kept_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One wide input of the calibration that is not kept back makes whole ranges worse."""
    inputs = normal(COUNT, *SHAPE)
    inputs[4] *= 30
    settings = {**PLAIN, "ranges": "chosen"}
    made, told = OnnxQuantizer(onnx.load(path), {"input": inputs}, [], settings).model("int8")
    plain, told_of_plain = OnnxQuantizer(onnx.load(path), {"input": inputs}, [], PLAIN).model("int8")
    assert (told["ranges"], told_of_plain) == ("chosen", {"ranges": "min-max"})
    with torch.no_grad():
        exact = Net().eval()(torch.from_numpy(normal(COUNT, *SHAPE)))["map"].numpy()
    chosen, whole = (np.linalg.norm(run(each, "map") - exact) for each in (made, plain))
    assert chosen < 0.8 * whole


def test_a_file_that_takes_bytes_has_a_step_for_each(path: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "model.onnx", tmp_path / "model.int8.onnx"
    source.write_bytes(path.read_bytes())
    give_onnx_bytes(source, ["input"])
    levels = np.random.default_rng(0).integers(0, 256, (COUNT, *SHAPE)).astype(np.float32)
    (tmp_path / "scratch").mkdir()
    assert quantize_onnx(source, {"int8": target}, {"input": levels}, tmp_path / "scratch", Int8()).failed == {}
    assert [(one.name, one.dtype) for one in OnnxRuntime(target).inputs] == [("input", "uint8")]
    model = onnx.load(target)
    (first,) = (node for node in model.graph.node if node.op_type == "QuantizeLinear" and "input" in node.input[0])
    assert constants(model)[first.input[1]] == 1


def test_outputs_of_unlike_parts_stay_in_float(tmp_path: Path) -> None:
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Conv2d(3, 2, 3)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.layer(image) * torch.tensor([1000.0, 0.5])[:, None, None]

    made = tmp_path / "net.onnx"
    write_onnx(trace(Detector().eval(), {"input": torch.zeros(1, *SHAPE)}), {"input": (1, *SHAPE)}, made)
    model = quantizer(made).model("int8")[0]
    (last,) = (node for node in model.graph.node if model.graph.output[0].name in node.output)
    assert last.op_type == "Mul"
    scores = run(model, model.graph.output[0].name)[:, 1]
    assert len(np.unique(scores)) > 100
