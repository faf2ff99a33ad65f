"""CONV_2D with as many groups as channels, as DEPTHWISE_CONV_2D."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobilekit.artifacts.tflite import TFLiteGraph, pack, unpack
from mobilekit.convert.depthwise import with_depthwise
from tests.tflite_by_hand import make_tflite

Array = NDArray[np.float32]
DEPTHWISE = 4  # BuiltinOperator of the TFLite schema


def draw(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


def run(content: bytes, x: Array, resolver: OpResolverType) -> Array:
    interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    result: Array = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return result


def grouped(x: Array, *weights: Array) -> bytes:
    """A file of convolutions in a row."""
    names = [f"weights{index}" for index in range(len(weights))]
    constants = dict(zip(names, weights, strict=True)) | {"bias": draw(x.shape[3])}
    places = ["x", *(f"y{index}" for index in range(len(weights)))]
    ops = [("CONV_2D", [places[i], name, "bias"], places[i + 1]) for i, name in enumerate(names)]
    return make_tflite(ops, x.shape, [places[-1]], constants)


@settings(derandomize=True)
@given(st.integers(2, 20), st.integers(1, 9), st.integers(1, 9), st.sampled_from([(1, 1), (3, 3), (1, 5), (5, 1)]))
def test_the_values_are_the_same_to_the_bit(channels: int, height: int, width: int, kernel: tuple[int, int]) -> None:
    x = draw(1, height, width, channels)
    content = grouped(x, draw(channels, *kernel, 1))
    changed = with_depthwise(content)
    assert TFLiteGraph(changed).kinds == ["DEPTHWISE_CONV_2D"]
    assert np.array_equal(run(content, x, OpResolverType.BUILTIN), run(changed, x, OpResolverType.BUILTIN))


def test_several_kernels_a_channel_are_a_depth_multiplier() -> None:
    x = draw(1, 5, 4, 3)
    model = unpack(grouped(x, draw(6, 3, 2, 1)))
    result, bias = (
        next(tensor for tensor in model.subgraphs[0].tensors if tensor.name == name) for name in (b"y0", b"bias")
    )
    result.shape, bias.shape = np.array([1, 5, 4, 6], np.int32), np.array([6], np.int32)
    model.buffers[bias.buffer].data = np.frombuffer(draw(6).tobytes(), np.uint8)
    content = pack(model)
    changed = with_depthwise(content)
    assert TFLiteGraph(changed).kinds == ["DEPTHWISE_CONV_2D"]
    assert np.array_equal(run(content, x, OpResolverType.BUILTIN), run(changed, x, OpResolverType.BUILTIN))


@pytest.mark.parametrize(("dilation", "version"), [(1, 1), (2, 2)])
def test_a_dilated_kernel_keeps_its_gaps_and_asks_for_the_op_s_second_version(dilation: int, version: int) -> None:
    """Version 2 of the op is the first that has dilations: a runtime without it must refuse the file."""
    x = draw(1, 7, 8, 4)
    model = unpack(grouped(x, draw(4, 3, 2, 1)))
    options = model.subgraphs[0].operators[0].builtinOptions
    options.dilationHFactor, options.dilationWFactor = dilation, 1
    content = pack(model)
    changed = with_depthwise(content)
    [code] = [code for code in unpack(changed).operatorCodes if code.builtinCode == DEPTHWISE]
    assert code.version == version
    assert np.array_equal(run(content, x, OpResolverType.BUILTIN), run(changed, x, OpResolverType.BUILTIN))


def test_kernels_without_a_delegate_agree_with_numpy() -> None:
    """TensorFlow Lite's own kernel is another implementation; of a 1x1 kernel the result is known."""
    x, weights = draw(1, 4, 3, 6), draw(6, 1, 1, 1)
    got = run(with_depthwise(grouped(x, weights)), x, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    np.testing.assert_allclose(got, x * weights.reshape(6) + draw(6), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("weights", [draw(6, 3, 3, 6), draw(6, 3, 3, 2)], ids=["dense", "groups of two"])
def test_other_convolutions_stay(weights: Array) -> None:
    content = grouped(draw(1, 4, 4, 6), weights)
    assert with_depthwise(content) is content


def test_one_channel_stays() -> None:
    content = grouped(draw(1, 4, 4, 1), draw(1, 3, 3, 1))
    assert with_depthwise(content) is content


def test_weights_of_several_convolutions_stay() -> None:
    x, constants = draw(1, 4, 4, 6), {"weights": draw(6, 3, 3, 1), "bias": draw(6)}
    ops = [("CONV_2D", [before, "weights", "bias"], after) for before, after in (("x", "y"), ("y", "z"))]
    content = make_tflite(ops, x.shape, ["z"], constants)
    assert with_depthwise(content) is content


def test_equal_weights_may_share_a_buffer() -> None:
    x, weights = draw(1, 5, 5, 6), draw(6, 3, 3, 1)
    model = unpack(grouped(x, weights, weights))
    first, second = (tensor for tensor in model.subgraphs[0].tensors if tensor.name.startswith(b"weights"))
    second.buffer = first.buffer
    content = pack(model)
    changed = with_depthwise(content)
    assert TFLiteGraph(changed).kinds == ["DEPTHWISE_CONV_2D"] * 2
    assert np.array_equal(run(content, x, OpResolverType.BUILTIN), run(changed, x, OpResolverType.BUILTIN))
