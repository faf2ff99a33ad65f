"""int16x8 files: values of int16, weights of int8, and what has no int16 kernel in float."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from mobilekit.artifacts.analysis.precision import precision_of
from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.tflite import TFLiteGraph, constant, pack, schema, type_of, unpack
from mobilekit.convert.int8.int16 import NO_INT16_KERNEL, WITHOUT_SCALES
from mobilekit.convert.tflite import write_quantized
from mobilekit.parity.ledger.rounding import round_weights_to_int8
from mobilekit.recipes.schema import Int8
from tests.converting import Converted, Floats, normal
from tests.tflite_by_hand import Int8 as Int8Tensor
from tests.tflite_by_hand import make_int8_op

SHAPE = (3, 12, 12)
COUNT = 12


class Net(nn.Module):
    """Each kind of layer with weights, slopes, a constant that is multiplied, and a Hard-Swish."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.depthwise = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=8)
        self.slopes, self.up, self.dense = nn.PReLU(8), nn.ConvTranspose2d(8, 8, 2, 2), nn.Linear(8, 5)
        self.slopes.weight.data = torch.tensor([0, 21, 42, 63, 84, 127, -9, -64]) / 128  # of 8 bits as well
        self.factor = nn.Parameter(torch.linspace(0.3, 3.1, 8)[:, None, None])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hidden = self.slopes(self.first(image))
        hidden = F.hardswish(self.depthwise(hidden)) * self.factor
        return self.dense((self.up(hidden) - 0.25).flatten(2).transpose(1, 2))


class Choice(nn.Module):
    """What is above .1, and the opposite of what is not."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.layer(x)
        return torch.where(made > 0.1, made, -made)


class Files:
    """A net, and its int16x8 file without corrected biases."""

    def __init__(self, folder: Path) -> None:
        self.net = Converted(Net(), SHAPE, folder)
        self.path = folder / "model.int16x8.tflite"
        self.quantize(self.path, Int8(correct_bias=False))
        self.graph = TFLiteGraph(self.path.read_bytes())

    def quantize(self, path: Path, settings: Int8) -> None:
        scratch = self.net.folder / "scratch"
        write_quantized(
            self.net.float32, path, {"input": normal(COUNT, *SHAPE)}, scratch, settings, precision="int16x8"
        )

    def type(self, tensor: int) -> str:
        return type_of(self.graph.tensors[tensor])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("int16"))


def run(path: Path, inputs: Floats) -> Floats:
    (made,) = LiteRTRuntime(path).run({"input": inputs}).values()
    return made


@pytest.mark.slow
def test_a_file_is_the_net_with_rounded_weights(files: Files) -> None:
    """Rounding values to 16 bits is next to nothing beside what 8 bits take from the weights."""
    inputs, rounded = normal(COUNT, *SHAPE), Net().eval()
    round_weights_to_int8(rounded)
    with torch.no_grad():
        given, exact = (net(torch.from_numpy(inputs)).numpy() for net in (rounded, files.net.model))
    made = run(files.path, inputs)
    lost = np.linalg.norm(exact - given)
    assert lost > 5e-4 * np.linalg.norm(exact)
    assert np.linalg.norm(made - given) < 0.1 * lost


@pytest.mark.slow
def test_values_are_int16_around_0_biases_int64_and_weights_int8(files: Files) -> None:
    graph = files.graph
    for op in graph.ops_of(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")):
        value, weights, bias = graph.operands[op]
        assert [files.type(one) for one in (value, weights, bias)] == ["INT16", "INT8", "INT64"]
        steps = [np.asarray(graph.tensors[one].quantization.scale) for one in (value, weights, bias)]
        np.testing.assert_allclose(steps[0] * steps[1], steps[2], rtol=1e-6)
    assert precision_of(files.path) == "int16x8"
    wide = [tensor for tensor in graph.tensors if type_of(tensor) == "INT16"]
    assert {int(tensor.quantization.zeroPoint[0]) for tensor in wide} == {0}
    runtime = LiteRTRuntime(files.path)
    assert [end.dtype for end in (*runtime.inputs, *runtime.outputs)] == ["int16", "int16"]


@pytest.mark.slow
def test_a_constant_that_is_multiplied_is_rounded_once_to_16_bits(files: Files) -> None:
    graph = files.graph
    (op,) = [op for op in graph.ops_of(("MUL",)) if graph.is_constant(graph.operands[op][1])]
    tensor = graph.tensors[graph.operands[op][1]]
    steps = constant(graph.model, tensor)
    assert steps is not None and steps.dtype == np.int16
    exact = np.linspace(0.3, 3.1, 8)
    np.testing.assert_allclose(steps.ravel() * tensor.quantization.scale[0], exact, atol=3.1 / 2**15)


@pytest.mark.slow
def test_slopes_stay_int8_and_a_hard_swish_in_float(files: Files) -> None:
    graph = files.graph
    (prelu,), (swish,) = graph.ops_of(("PRELU",)), graph.ops_of(("HARD_SWISH",))
    assert [files.type(one) for one in graph.operands[prelu]] == ["INT16", "INT8"]
    assert files.type(graph.operands[swish][0]) == files.type(graph.results[swish][0]) == "FLOAT32"


@pytest.mark.slow
def test_an_op_names_the_version_that_takes_int16(files: Files) -> None:
    graph = files.graph
    known = {"CONV_2D": 4, "DEPTHWISE_CONV_2D": 5, "FULLY_CONNECTED": 7, "MUL": 4, "QUANTIZE": 2}
    found = {kind: graph.code(op).version for op, kind in enumerate(graph.kinds) if kind in known}
    assert found == known


@pytest.mark.slow
def test_a_file_for_apps_takes_and_gives_float32(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "model.int16x8.tflite"
    files.quantize(path, Int8(correct_bias=False, io="float32"))
    runtime = LiteRTRuntime(path)
    assert [end.dtype for end in (*runtime.inputs, *runtime.outputs)] == ["float32", "float32"]
    inputs = normal(COUNT, *SHAPE)
    np.testing.assert_allclose(run(path, inputs), run(files.path, inputs), atol=1e-6)


@pytest.mark.slow
def test_corrected_biases_leave_less_of_what_weights_lose(files: Files, tmp_path: Path) -> None:
    corrected = tmp_path / "model.int16x8.tflite"
    files.quantize(corrected, Int8())
    assert files.net.error(corrected) < 0.8 * files.net.error(files.path)


@pytest.mark.parametrize("kind", sorted(NO_INT16_KERNEL))
def test_litert_has_no_int16_kernel(kind: str) -> None:
    """Whoever gives LiteRT one will see this fail, and can take the op off the list."""
    value = Int8Tensor((1, 2, 2, 4), 1 / 64, 0)
    model = unpack(make_int8_op(kind, [value] * (2 if kind == "SQUARED_DIFFERENCE" else 1), value))
    for tensor in model.subgraphs[0].tensors:
        tensor.type = schema().TensorType.INT16
    for code in model.operatorCodes:
        code.version = 1
    with pytest.raises((RuntimeError, ValueError)):
        _run_on_zeros(pack(model))


@pytest.mark.parametrize("kind", sorted(WITHOUT_SCALES))
def test_litert_compares_int16_without_their_scales(kind: str) -> None:
    """Why they stay in float: where one has half of the other's step, 1 is less than 1."""
    one, half = Int8Tensor((1, 4), 1 / 64, 0), Int8Tensor((1, 4), 1 / 128, 0)
    model = unpack(make_int8_op(kind, [one, half], Int8Tensor((1, 4), 1, 0)))
    tensors = model.subgraphs[0].tensors
    for tensor in tensors[:2]:
        tensor.type = schema().TensorType.INT16
    tensors[2].type, tensors[2].quantization = schema().TensorType.BOOL, None
    interpreter = Interpreter(model_content=pack(model))
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, np.array([[64, 64, 32, 100]], np.int16))
    interpreter.set_tensor(1, np.array([[128, 64, 64, 150]], np.int16))  # 1 and 1, 1 and .5, .5 and .5, 1.56 and 1.17
    interpreter.invoke()
    compare = getattr(np, kind.lower())
    steps = compare([64, 64, 32, 100], [128, 64, 64, 150])
    assert interpreter.get_tensor(2).ravel().tolist() == steps.tolist()
    assert steps.tolist() != compare([1, 1, 0.5, 100 / 64], [1, 0.5, 0.5, 150 / 128]).tolist()


@pytest.mark.slow
def test_a_choice_between_two_maps_is_right_in_int16(tmp_path: Path) -> None:
    net = Converted(Choice(), SHAPE, tmp_path)
    path = tmp_path / "model.int16x8.tflite"
    inputs = {"input": normal(COUNT, *SHAPE)}
    write_quantized(net.float32, path, inputs, tmp_path / "scratch", Int8(), precision="int16x8")
    assert net.error(path) < 0.02


def _run_on_zeros(content: bytes) -> None:
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.invoke()


def test_litert_reads_int16_slopes_as_int8() -> None:
    """Why they stay int8: 32 is read as 32, 0, 32, 0, ..."""
    assert _leaked(np.full((1, 1, 4), 32, np.int8)) == [-25, -25, -25, -25]
    assert _leaked(np.full((1, 1, 4), 32, np.int16)) == [-25, 0, -25, 0]


def _leaked(slopes: NDArray[np.int8] | NDArray[np.int16]) -> list[int]:
    """Return what an int16 PRELU makes of four times -100."""
    value, narrow = Int8Tensor((1, 1, 1, 4), 1 / 64, 0), slopes.astype(np.int8)
    model = unpack(make_int8_op("PRELU", [value, Int8Tensor((1, 1, 4), 1 / 128, 0, narrow)], value))
    model.operatorCodes[0].version = 1
    given, held, made = model.subgraphs[0].tensors
    given.type = made.type = schema().TensorType.INT16
    held.type = getattr(schema().TensorType, slopes.dtype.name.upper())
    model.buffers[held.buffer].data = np.frombuffer(slopes.tobytes(), np.uint8)
    interpreter = Interpreter(model_content=pack(model))
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, np.full((1, 1, 1, 4), -100, np.int16))
    interpreter.invoke()
    result: list[int] = interpreter.get_tensor(2).ravel().tolist()
    return result
