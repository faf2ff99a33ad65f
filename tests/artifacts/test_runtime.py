"""Runtimes give what the graph says, whatever the layout and number format inside, and tell what they cannot open."""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert import schema_py_generated as tfl
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.onnx import OnnxRuntime
from mobilekit.artifacts.open import open_artifact
from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.artifacts.runtime import Runtime
from mobilekit.errors import ToolError, UsageError

Array = NDArray[np.float32]
RANDOM = np.random.default_rng(0)
WEIGHT = RANDOM.standard_normal((4, 3, 3, 3), dtype=np.float32)
BIAS = RANDOM.standard_normal(4, dtype=np.float32)
INPUTS = RANDOM.standard_normal((5, 3, 6, 7), dtype=np.float32)
SHAPE = (1, 3, 6, 7)


def _convolve(images: Array) -> NDArray[np.float64]:
    """A 3x3 convolution without padding, from its definition."""
    n, _c, h, w = images.shape
    out = np.zeros((n, 4, h - 2, w - 2))
    for y in range(3):
        for x in range(3):
            window = images[:, :, y : y + h - 2, x : x + w - 2].astype(np.float64)
            out += np.einsum("nchw,oc->nohw", window, WEIGHT[:, :, y, x].astype(np.float64))
    return out + BIAS[None, :, None, None]


def _first(runtime: Runtime, images: Array) -> Array:
    """Run a model of one input, and return its first output."""
    return next(iter(runtime.run({"input": images}).values()))


@pytest.fixture
def conv(tmp_path: Path) -> Path:
    """Write an ONNX file with two outputs: the convolution, and its double."""
    nodes = [
        helper.make_node("Conv", ["input", "weight", "bias"], ["logits"]),
        helper.make_node("Add", ["logits", "logits"], ["double"]),
    ]
    values = {"input": SHAPE, "logits": (1, 4, 4, 5), "double": (1, 4, 4, 5)}
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values.items()]
    weights = [numpy_helper.from_array(WEIGHT, "weight"), numpy_helper.from_array(BIAS, "bias")]
    graph = helper.make_graph(nodes, "conv", infos[:1], infos[1:], weights)
    path = tmp_path / "conv.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def _tensor(name: str, shape: tuple[int, ...], kind: int, buffer: int, scale: float | None, zero: int) -> tfl.TensorT:
    tensor = tfl.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, buffer
    if scale is not None:
        tensor.quantization = tfl.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [zero]
    return tensor


def _write_tflite(path: Path, op: int, tensors: list[tfl.TensorT], constants: list[bytes]) -> Path:
    """Write a model of one op: tensor 0 is the input, the last is the output, those between are its constants."""
    model, graph, code, operator = tfl.ModelT(), tfl.SubGraphT(), tfl.OperatorCodeT(), tfl.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = op
    code.version = 2 if op == tfl.BuiltinOperator.RELU else 1
    operator.inputs, operator.outputs = list(range(len(tensors) - 1)), [len(tensors) - 1]
    if op == tfl.BuiltinOperator.MUL:
        operator.builtinOptionsType, operator.builtinOptions = tfl.BuiltinOptions.MulOptions, tfl.MulOptionsT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = tensors, [0], operator.outputs, [operator]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [tfl.BufferT()]
    for data in constants:
        buffer = tfl.BufferT()
        buffer.data = np.frombuffer(data, np.uint8)
        model.buffers.append(buffer)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


FACTORS = np.float32([1, 10, 100])


@pytest.fixture
def nhwc(tmp_path: Path) -> Path:
    """Write a float TFLite file that takes (1, 6, 7, 3) and multiplies each channel by its own factor."""
    kind, shape = tfl.TensorType.FLOAT32, (1, 6, 7, 3)
    tensors = [_tensor("image", shape, kind, 0, None, 0), _tensor("factors", (1, 1, 1, 3), kind, 1, None, 0)]
    tensors.append(_tensor("scaled", shape, kind, 0, None, 0))
    return _write_tflite(tmp_path / "nhwc.tflite", tfl.BuiltinOperator.MUL, tensors, [FACTORS.tobytes()])


@pytest.fixture
def int8(tmp_path: Path) -> Path:
    """Write an int8 TFLite file: a ReLU whose input is quantized by 0.05 around -20, and its output by 0.04 at -128."""
    tensors = [_tensor("x", (1, 6, 7, 3), tfl.TensorType.INT8, 0, 0.05, -20)]
    tensors.append(_tensor("y", (1, 6, 7, 3), tfl.TensorType.INT8, 0, 0.04, -128))
    return _write_tflite(tmp_path / "relu.tflite", tfl.BuiltinOperator.RELU, tensors, [])


def test_onnx_runtime_gives_the_convolution(conv: Path) -> None:
    got = OnnxRuntime(conv).run({"input": INPUTS})
    assert list(got) == ["logits", "double"]
    assert (got["logits"].shape, got["logits"].dtype) == ((5, 4, 4, 5), np.float32)
    np.testing.assert_allclose(got["logits"], _convolve(INPUTS), atol=1e-5)
    np.testing.assert_array_equal(got["double"], 2 * got["logits"])
    np.testing.assert_array_equal(_first(OnnxRuntime(conv), INPUTS), got["logits"])


def test_litert_takes_nchw_for_a_model_in_nhwc(nhwc: Path) -> None:
    got = LiteRTRuntime(nhwc).run({"input": INPUTS})
    assert list(got) == ["scaled"]
    np.testing.assert_allclose(got["scaled"], INPUTS.transpose(0, 2, 3, 1) * FACTORS, rtol=1e-6)


def test_litert_takes_nchw_for_nhwc_where_the_shape_does_not_tell(tmp_path: Path) -> None:
    """A tensor as deep as it is high and wide looks the same in both layouts; our artifacts have NHWC."""
    kind, shape, factors = tfl.TensorType.FLOAT32, (1, 4, 4, 4), np.float32([1, 10, 100, 1000])
    tensors = [_tensor("x", shape, kind, 0, None, 0), _tensor("factors", (1, 1, 1, 4), kind, 1, None, 0)]
    tensors.append(_tensor("y", shape, kind, 0, None, 0))
    path = _write_tflite(tmp_path / "cube.tflite", tfl.BuiltinOperator.MUL, tensors, [factors.tobytes()])
    cube = RANDOM.standard_normal((2, 4, 4, 4), dtype=np.float32)
    got = LiteRTRuntime(path, {"y": "NHWC"}).run({"input": cube})["y"]
    np.testing.assert_allclose(got, cube * factors[:, None, None], rtol=1e-6)


def test_litert_quantizes_and_dequantizes(int8: Path) -> None:
    runtime = LiteRTRuntime(int8)
    (taken,), (given,) = runtime.inputs, runtime.outputs
    assert (taken.name, taken.dtype, taken.scale, taken.zero_point) == ("x", "int8", pytest.approx(0.05), -20)
    assert (given.name, given.shape, given.zero_point) == ("y", (1, 6, 7, 3), -128)
    images = INPUTS * 5
    assert np.abs(images).max() > 127 * 0.05, "some values lie beyond the range and are cut"
    steps = np.clip(np.round(images.transpose(0, 2, 3, 1) / np.float32(0.05)) - 20, -128, 127)
    wanted = np.clip((steps + 20) * 0.05, 0, 255 * 0.04)
    got = _first(runtime, images)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted, atol=0.0201)
    np.testing.assert_allclose(got / 0.04, np.round(got / 0.04), atol=1e-3)


@pytest.mark.parametrize("name", ["conv", "nhwc", "int8"])
def test_a_batch_is_its_single_inputs(name: str, request: pytest.FixtureRequest) -> None:
    runtime = open_artifact(request.getfixturevalue(name))
    singles = [_first(runtime, INPUTS[i : i + 1]) for i in range(len(INPUTS))]
    np.testing.assert_array_equal(_first(runtime, INPUTS), np.concatenate(singles))


def test_pytorch_in_float32_and_float64() -> None:
    model = nn.Conv2d(3, 4, 3).eval()
    model.load_state_dict({"weight": torch.from_numpy(WEIGHT), "bias": torch.from_numpy(BIAS)})
    np.testing.assert_allclose(_first(TorchRuntime(model), INPUTS), _convolve(INPUTS), atol=1e-5)
    exact = TorchRuntime(model.double()).run({"input": INPUTS})["output"]
    assert exact.dtype == np.float32
    np.testing.assert_array_max_ulp(exact, _convolve(INPUTS).astype(np.float32), maxulp=1)


def test_pytorch_splits_a_large_batch() -> None:
    sizes: list[int] = []
    model = nn.Conv2d(1, 1, 1)
    model.register_forward_hook(lambda _m, inputs, _o: sizes.append(len(inputs[0])))
    large = np.zeros((5, 1, 512, 1024), np.float32)
    assert _first(TorchRuntime(model), large).shape == (5, 1, 512, 1024)
    # Whether it takes several at once is tried by one and two, and by one alone and between two others.
    assert sizes == [1, 2, 1, 3, 2, 2, 1]


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x1c\0\0\0TFL3" + b"\xff" * 200], ids=["empty", "text", "header"])
@pytest.mark.parametrize(("suffix", "tool"), [(".onnx", "ONNX Runtime"), (".tflite", "LiteRT")])
def test_garbage_is_a_tools_failure(tmp_path: Path, data: bytes, suffix: str, tool: str) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(data)
    with pytest.raises(ToolError, match=rf"{tool} cannot open .*broken{suffix}: \S+"):
        open_artifact(path)
    with pytest.raises(ToolError, match=f"{tool} cannot open"):
        open_artifact(tmp_path / f"missing{suffix}")


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model.pb is neither \.onnx, \.tflite, \.pte nor \.mlpackage"):
        open_artifact(tmp_path / "model.pb")


def test_inputs_that_do_not_fit_are_refused_before_they_are_run(conv: Path, nhwc: Path, int8: Path) -> None:
    with pytest.raises(UsageError, match=r"conv.onnx takes input of 1x3x6x7, and was given input of 1x2x6x7"):
        _first(OnnxRuntime(conv), INPUTS[:, :2])
    with pytest.raises(UsageError, match=r"nhwc.tflite takes \w+ of 1x6x7x3, and was given \w+ of 1x2x6x7"):
        _first(LiteRTRuntime(nhwc), INPUTS[:, :2])
    with pytest.raises(UsageError, match=r"relu.tflite takes x of 1x6x7x3, and was given left of .* and right of"):
        LiteRTRuntime(int8).run({"left": INPUTS, "right": INPUTS})


def test_what_runtimes_take(conv: Path, nhwc: Path, int8: Path) -> None:
    taken = [[(info.name, info.shape, info.dtype) for info in open_artifact(path).inputs] for path in (conv, int8)]
    assert taken == [[("input", SHAPE, "float32")], [("x", (1, 6, 7, 3), "int8")]]
    assert open_artifact(nhwc).input_shapes() == {open_artifact(nhwc).inputs[0].name: (1, 6, 7, 3)}
    assert TorchRuntime(nn.ReLU()).inputs == (), "a module does not say"


def test_inputs_of_free_sizes_several_names_and_other_formats(tmp_path: Path) -> None:
    """Callers give float32 whatever the file takes."""
    nodes = [helper.make_node("Cast", ["steps"], ["floats"], to=TensorProto.FLOAT)]
    nodes.append(helper.make_node("Add", ["image", "floats"], ["sum"]))
    infos = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, None])]
    infos.append(helper.make_tensor_value_info("steps", TensorProto.INT64, (1, 3, 1)))
    sum_info = helper.make_tensor_value_info("sum", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "free", infos, [sum_info])
    path = tmp_path / "free.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    runtime = OnnxRuntime(path)
    assert [info.dtype for info in runtime.inputs] == ["float32", "int64"]
    image, steps = INPUTS[:2, :, 0], np.float32([[[1], [2], [3]]] * 2)
    np.testing.assert_array_equal(runtime.run({"steps": steps, "image": image})["sum"], image + steps)
    with pytest.raises(UsageError, match=r"takes image of batchx3xNone and steps of 1x3x1, and was given image"):
        runtime.run({"image": image})
    with pytest.raises(UsageError, match=r"as many of one input as of another.* 2 of image and 1 of steps"):
        runtime.run({"image": image, "steps": steps[:1]})


def test_each_input_has_a_row_and_labels_are_integers(tmp_path: Path) -> None:
    """A scalar, a truth value and a class number for each image; the oracle is numpy."""
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0),
        helper.make_node("Greater", ["mean", "zero"], ["above"]),
        helper.make_node("ArgMax", ["input"], ["classes"], axis=1, keepdims=0),
    ]
    kinds = {
        "mean": (TensorProto.FLOAT, ()),
        "above": (TensorProto.BOOL, ()),
        "classes": (TensorProto.INT64, (1, 6, 7)),
    }
    outputs = [helper.make_tensor_value_info(name, *kind) for name, kind in kinds.items()]
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, SHAPE)
    zero = numpy_helper.from_array(np.float32(0), "zero")
    graph = helper.make_graph(nodes, "labels", [image], outputs, [zero])
    path = tmp_path / "labels.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    given = OnnxRuntime(path).run({"input": INPUTS})
    means = INPUTS.mean((1, 2, 3))
    np.testing.assert_allclose(given["mean"], means, atol=1e-7)
    assert given["above"].dtype == given["classes"].dtype == np.int64
    assert given["above"].tolist() == (means > 0).astype(int).tolist()
    assert (given["classes"] == INPUTS.argmax(1)).all()


def test_a_model_of_several_inputs_at_once_gets_full_batches(tmp_path: Path) -> None:
    """Five inputs for a model of two: the last is there twice, and its row once."""
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 3, 6, 7)) for name in ("input", "double")]
    total = helper.make_tensor_value_info("sum", TensorProto.FLOAT, ())
    nodes = [helper.make_node("Add", ["input", "input"], ["double"])]
    joins = helper.make_node("ReduceSum", ["input"], ["sum"], keepdims=0)

    def write(name: str, *more: onnx.NodeProto) -> OnnxRuntime:
        outputs = [infos[1], *([total] if more else [])]
        graph = helper.make_graph([*nodes, *more], "pairs", infos[:1], outputs)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / name)
        return OnnxRuntime(tmp_path / name)

    pairs = write("pairs.onnx")
    assert pairs.batch == 2
    np.testing.assert_array_equal(_first(pairs, INPUTS), 2 * INPUTS)
    with pytest.raises(ToolError, match=r"An output has the shape \(\) for a batch of 2"):
        write("joined.onnx", joins).run({"input": INPUTS})
