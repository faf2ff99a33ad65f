"""Small TFLite files made op by op, for tests that know every tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray


@dataclass(frozen=True)
class Int8:
    """A quantized tensor; one with an array is constant, and a bias where that is of int32."""

    shape: tuple[int, ...]
    scale: float
    zero_point: int
    array: NDArray[np.int8] | NDArray[np.int32] | None = None


def make_int8_op(kind: str, takes: Sequence[Int8 | NDArray[np.int32]], makes: Int8, **options: Any) -> bytes:
    """Return a file of one int8 op; what it takes that is no constant is the file's input.

    Args:
        kind: Of the op, such as `MEAN`.
        takes: Its inputs; an array is a constant of int32.
        makes: Its output.
        options: Of the op, by the schema's names.
    """
    model, graph, op, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], [schema.BufferT()], [code]
    code.builtinCode = getattr(schema.BuiltinOperator, kind)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 2
    graph.tensors, graph.operators, graph.outputs = [], [op], [len(takes)]
    for number, each in enumerate((*takes, makes)):
        graph.tensors.append(_int8_tensor(f"t{number}", each, model.buffers))
    graph.inputs = [number for number in range(len(takes)) if graph.tensors[number].buffer == 0]
    op.inputs, op.outputs = list(range(len(takes))), [len(takes)]
    if kind in _OPTIONS:
        op.builtinOptionsType, op.builtinOptions = _OPTIONS[kind][0], _OPTIONS[kind][1]()
    for name, value in options.items():
        setattr(op.builtinOptions, name, value)
    taken = {f"t{number}": number for number in graph.inputs}
    model.signatureDefs = [_signature(taken, {f"t{len(takes)}": len(takes)})]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _int8_tensor(name: str, like: Int8 | NDArray[np.int32], buffers: list[Any]) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape = name.encode(), np.array(like.shape, np.int32)
    array = like.array if isinstance(like, Int8) else like
    is_int32 = array is not None and array.dtype == np.int32
    tensor.type = schema.TensorType.INT32 if is_int32 else schema.TensorType.INT8
    if isinstance(like, Int8):
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [like.scale], [like.zero_point]
    if array is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        tensor.buffer = len(buffers)
        buffers.append(buffer)
    return tensor


_OPTIONS: Mapping[str, tuple[int, Any]] = {
    "ADD": (schema.BuiltinOptions.AddOptions, schema.AddOptionsT),
    "MUL": (schema.BuiltinOptions.MulOptions, schema.MulOptionsT),
    "DIV": (schema.BuiltinOptions.DivOptions, schema.DivOptionsT),
    "RESHAPE": (schema.BuiltinOptions.ReshapeOptions, schema.ReshapeOptionsT),
    "SOFTMAX": (schema.BuiltinOptions.SoftmaxOptions, schema.SoftmaxOptionsT),
    "CONV_2D": (schema.BuiltinOptions.Conv2DOptions, schema.Conv2DOptionsT),  # of stride 1, padded to the same size
    "BATCH_MATMUL": (schema.BuiltinOptions.BatchMatMulOptions, schema.BatchMatMulOptionsT),
    "RESIZE_BILINEAR": (schema.BuiltinOptions.ResizeBilinearOptions, schema.ResizeBilinearOptionsT),
    "MEAN": (schema.BuiltinOptions.ReducerOptions, schema.ReducerOptionsT),
    "FULLY_CONNECTED": (schema.BuiltinOptions.FullyConnectedOptions, schema.FullyConnectedOptionsT),
}


def make_tflite(
    ops: Sequence[tuple[str, Sequence[str], str]],
    shape: tuple[int, ...],
    outputs: Sequence[str],
    constants: Mapping[str, NDArray[np.float32]] | None = None,
) -> bytes:
    """Return a float32 file with one input `x` and a signature.

    Args:
        ops: Kind, names of what it takes, name of what it makes; all that is made has the shape of the input.
        shape: The shape of the input.
        outputs: Names of the outputs.
        constants: Further tensors, by name.
    """
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    numbers: dict[str, int] = {}
    graph.tensors, graph.operators, model.operatorCodes = [], [], []

    def add_tensor(name: str, array: NDArray[np.float32] | None = None) -> None:
        tensor = schema.TensorT()
        tensor.name, tensor.type = name.encode(), schema.TensorType.FLOAT32
        tensor.shape = np.array(shape if array is None else array.shape, np.int32)
        if array is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(array.tobytes(), np.uint8)
            tensor.buffer = len(model.buffers)
            model.buffers.append(buffer)
        numbers[name] = len(graph.tensors)
        graph.tensors.append(tensor)

    add_tensor("x")
    for name, array in (constants or {}).items():
        add_tensor(name, array)
    for kind, taken, made in ops:
        add_tensor(made)
        code, op = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
        op.opcodeIndex, op.inputs, op.outputs = len(model.operatorCodes), [numbers[n] for n in taken], [numbers[made]]
        if kind in _OPTIONS:
            op.builtinOptionsType, op.builtinOptions = _OPTIONS[kind][0], _OPTIONS[kind][1]()
        if kind == "CONV_2D":
            op.builtinOptions.strideW = op.builtinOptions.strideH = 1
        if kind == "RESHAPE":
            op.builtinOptions.newShape = list(shape)
        if kind == "SOFTMAX":
            op.builtinOptions.beta = 1.0
        model.operatorCodes.append(code)
        graph.operators.append(op)
    graph.inputs, graph.outputs = [0], [numbers[name] for name in outputs]
    model.signatureDefs = [_signature({"x": 0}, {name: numbers[name] for name in outputs})]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _signature(inputs: Mapping[str, int], outputs: Mapping[str, int]) -> Any:
    def entry(name: str, number: int) -> Any:
        one = schema.TensorMapT()
        one.name, one.tensorIndex = name.encode(), number
        return one

    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs, signature.outputs = ([entry(*one) for one in each.items()] for each in (inputs, outputs))
    return signature


def make_bytes_through(sides: tuple[int, int]) -> bytes:
    """Return a file that takes a color picture of this height and width in bytes, and gives its values as classes."""
    model, graph, op, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], [schema.BufferT()], [code]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RESHAPE
    count = 3 * sides[0] * sides[1]
    op.inputs, op.outputs = [0], [1]
    op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.ReshapeOptions, schema.ReshapeOptionsT()
    op.builtinOptions.newShape = [1, count]
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [op], [0], [1]
    for name, shape in ((b"x", (1, *sides, 3)), (b"y", (1, count))):
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.shape = name, schema.TensorType.UINT8, np.array(shape, np.int32)
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [1.0], [0]
        graph.tensors.append(tensor)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def make_grouped(kernel: int, groups: int) -> bytes:
    """Return a file of one int8 convolution with groups, from (1, 4, 4, 8) to (1, 4, 4, 16)."""
    random = np.random.default_rng(0)
    weights = random.integers(-127, 128, (16, kernel, kernel, 8 // groups)).astype(np.int8)
    taken, made = Int8((1, 4, 4, 8), 0.02, 3), Int8((1, 4, 4, 16), 0.25, 0)
    bias = Int8((16,), 0.02 * 0.01, 0, random.integers(-500, 501, 16).astype(np.int32))
    options = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
    return make_int8_op("CONV_2D", [taken, Int8(weights.shape, 0.01, 0, weights), bias], made, **options)
