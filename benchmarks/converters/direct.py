"""TFLite files without TensorFlow: onnx2tf's direct writer, and what makes the other formats of its float32 file."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.converters.layout import with_fewer_transposes
from benchmarks.converters.lost import with_lost_tensors
from benchmarks.converters.products import with_fully_connected
from mobilekit.artifacts.float_regions import DENSE
from mobilekit.artifacts.tflite import TFLiteGraph, constant, kinds, pack, schema, type_of, unpack
from mobilekit.convert.depthwise import with_depthwise

Arrays = Mapping[str, NDArray[np.float32]]
_SHORTEST = 1024
"""Weights with fewer values stay float32 in a dynamic-range file, as with TensorFlow Lite's converter."""


def float32(onnx_path: Path) -> bytes:
    """Return the float32 file that onnx2tf's direct writer makes, with inputs and outputs in the file's order."""
    import onnx
    import onnx2tf

    graph = onnx.load(onnx_path, load_external_data=False).graph
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in graph.input}
    with tempfile.TemporaryDirectory() as folder:
        onnx2tf.convert(
            input_onnx_file_path=str(onnx_path),
            output_folder_path=folder,
            not_use_onnxsim=True,
            output_signaturedefs=True,
            keep_ncw_or_nchw_or_ncdhw_input_names=[name for name, rank in ranks.items() if rank in (3, 5)] or None,
            replace_to_pseudo_operators=["erf"],
            non_verbose=True,
        )
        (made,) = Path(folder).glob("*_float32.tflite")
        content = with_lost_tensors(made.read_bytes(), onnx.load(onnx_path).graph)
        content = with_depthwise(with_known_shapes(content))
        return _without_unread(with_fewer_transposes(with_fully_connected(content)))


def with_known_shapes(content: bytes) -> bytes:
    """Return a file whose shapes are all known without what says that they are not: XNNPACK leaves a SLICE so far."""
    model = unpack(content)
    graph = model.subgraphs[0]
    found = kinds(model)
    for tensor in graph.tensors:
        tensor.shapeSignature = None
    for op in graph.operators:
        if found[op.opcodeIndex] == "SLICE":
            sizes, shape = graph.tensors[int(op.inputs[2])], graph.tensors[int(op.outputs[0])].shape
            values = constant(model, sizes)
            if values is not None and (values < 0).any():
                sizes.buffer = _add_buffer(model, np.array(shape, values.dtype))
    return _packed(model)


def float16(content: bytes) -> bytes:
    """Return a float32 file with the weights and biases of convolutions and products in float16, before DEQUANTIZEs."""
    model = unpack(content)
    graph = model.subgraphs[0]
    found = kinds(model)
    wanted = dict.fromkeys(
        int(number)
        for op in graph.operators
        if found[op.opcodeIndex] in (*DENSE, "BATCH_MATMUL")
        for number in op.inputs
        if number >= 0 and type_of(graph.tensors[number]) == "FLOAT32" and is_constant(model, graph.tensors[number])
    )
    code = schema().OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema().BuiltinOperator.DEQUANTIZE
    code.version = 3  # the first that takes float16
    model.operatorCodes.append(code)
    added = [_dequantize(model, number, len(model.operatorCodes) - 1) for number in wanted]
    graph.operators = [*added, *graph.operators]
    return _packed(model)


def _without_unread(content: bytes) -> bytes:
    return _packed(unpack(content))


def _packed(model: Any) -> bytes:
    """Return the file of a model, without the values of constants that nothing reads any more."""
    used = set()
    for graph in model.subgraphs:
        read = {int(number) for op in graph.operators for number in (*op.inputs, *op.outputs)}
        read |= {*map(int, graph.inputs), *map(int, graph.outputs)}
        for number, tensor in enumerate(graph.tensors):
            tensor.buffer = tensor.buffer if number in read else 0
            used.add(tensor.buffer)
    used |= {entry.buffer for entry in model.metadata or []}
    for number, buffer in enumerate(model.buffers):
        if number not in used:
            buffer.data = None
    return pack(model)


def is_constant(model: Any, tensor: Any) -> bool:
    """Return whether a tensor's values stand in the file."""
    return constant(model, tensor) is not None


def _dequantize(model: Any, number: int, code: int) -> Any:
    """Make a constant computed from one in float16, and return the op that does it."""
    tensors = model.subgraphs[0].tensors
    tensor = tensors[number]
    values = constant(model, tensor)
    assert values is not None
    limit = np.finfo(np.float16).max
    half = schema().TensorT()
    half.name, half.shape, half.type = tensor.name + b"_float16", tensor.shape, schema().TensorType.FLOAT16
    half.quantization = schema().QuantizationParametersT()
    half.buffer = _add_buffer(model, np.clip(values, -limit, limit).astype(np.float16))
    tensors.append(half)
    tensor.buffer = 0
    op = schema().OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = code, np.array([len(tensors) - 1], np.int32), np.array([number], np.int32)
    op.builtinOptionsType, op.builtinOptions = schema().BuiltinOptions.DequantizeOptions, schema().DequantizeOptionsT()
    return op


def _add_buffer(model: Any, values: NDArray[Any]) -> int:
    buffer = schema().BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def dynamic(content: bytes) -> bytes:
    """Return a float32 file with int8 weights, a scale for each channel, that are multiplied with rounded inputs.

    Depthwise convolutions stay float32: XNNPACK has none of this kind, and they have few weights.
    """
    from litert_quantizer import quantizer, recipe  # type: ignore[import-not-found]

    tool = quantizer.Quantizer(bytearray(content), recipe.dynamic_legacy_wi8_afp32())
    tool.update_quantization_recipe(".*", "DEPTHWISE_CONV_2D", algorithm_key="no_quantize")
    return bytes(tool.quantize(enable_progress_report=False).quantized_model)


def own_dynamic(content: bytes) -> bytes:
    """Return the same without litert-quantizer."""
    model = unpack(content)
    graph = model.subgraphs[0]
    found = kinds(model)
    for op in graph.operators:
        if found[op.opcodeIndex] not in ("CONV_2D", "FULLY_CONNECTED"):
            continue
        tensor = graph.tensors[int(op.inputs[1])]
        values = constant(model, tensor)
        if values is not None and type_of(tensor) == "FLOAT32" and values.size >= _SHORTEST:
            _round_weights(model, tensor, values)
            if found[op.opcodeIndex] == "FULLY_CONNECTED":
                op.builtinOptions.asymmetricQuantizeInputs = True
    return _packed(model)


def _round_weights(model: Any, tensor: Any, values: NDArray[Any]) -> None:
    """Write a constant as int8, with a scale for each channel of the output, the first axis."""
    others = tuple(range(1, values.ndim))
    scales = np.maximum(np.abs(values).max(axis=others, keepdims=True), np.finfo(np.float32).tiny) / 127
    tensor.type, tensor.buffer = schema().TensorType.INT8, _add_buffer(model, np.round(values / scales).astype(np.int8))
    tensor.quantization = schema().QuantizationParametersT()
    tensor.quantization.scale = scales.ravel().astype(np.float32)
    tensor.quantization.zeroPoint = np.zeros(scales.size, np.int64)
    tensor.quantization.quantizedDimension = 0


def int8(content: bytes, ranges: bytes, kept: Collection[str]) -> bytes:
    """Return a float32 file in int8, by ranges of ours, but for the ops whose results are to stay in float.

    Args:
        content: The file.
        ranges: The same file with the ranges in it.
        kept: Names of the tensors that stay in float.
    """
    from litert_quantizer import quantizer, recipe

    graph = TFLiteGraph(ranges)
    found = {}
    for number in graph.computed():
        quantization = graph.tensors[number].quantization
        if quantization is not None and quantization.min is not None and graph.is_float32(number):
            low, high = np.float32(quantization.min[0]), np.float32(quantization.max[0])
            found[graph.name(number)] = {"min": np.array(low), "max": np.array(high)}
    tool = quantizer.Quantizer(bytearray(content), recipe.static_wi8_ai8())
    if kept:
        names = "|".join(map(re.escape, sorted(kept)))
        tool.update_quantization_recipe(f"(?:^|;)(?:{names});", "*", algorithm_key="no_quantize")
    return bytes(tool.quantize(found, enable_progress_report=False).quantized_model)
