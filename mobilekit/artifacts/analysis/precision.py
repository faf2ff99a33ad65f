"""Which number format an artifact is in, by what it holds."""

from __future__ import annotations

from pathlib import Path

from mobilekit.artifacts.executorch.pte import read_pte
from mobilekit.artifacts.onnx import read_onnx
from mobilekit.artifacts.tflite import TFLiteGraph, type_of
from mobilekit.store.stages import Precision

_INT8_NODES = {"QuantizeLinear", "QLinearConv", "QLinearMatMul"}
_INTEGERS = {"INT4", "INT8", "UINT8", "INT16"}
_DYNAMIC_NODES = {"DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"}
_CONVERTS = {"convert", "quantize_per_tensor"}
"""What turns floats into integers in a .pte file: XNNPACK's step, and ExecuTorch's own."""


def precision_of(path: Path) -> Precision:
    """Return `float32`, `float16` (weights), `dynamic` (integer weights), `int8` or `int16x8` (activations as well).

    Args:
        path: An .onnx, .tflite or .pte file that a runtime has opened.
    """
    if path.suffix == ".pte":
        found = read_pte(path)
        return "int8" if _CONVERTS & found.ops.keys() else found.precision
    return _of_onnx(path) if path.suffix == ".onnx" else _of_tflite(path)


def _of_tflite(path: Path) -> Precision:
    graph = TFLiteGraph(path.read_bytes())
    computed = set(graph.computed())
    inner = {tensor for made in graph.results for tensor in made}
    types = {type_of(graph.tensors[tensor]) for tensor in inner if graph.is_quantized(tensor)}
    if types & _INTEGERS:
        return "int16x8" if "INT16" in types else "int8"
    constants = [one for number, one in enumerate(graph.tensors) if number not in computed]
    types = {type_of(one) for one in constants if one.quantization is not None and one.quantization.scale is not None}
    if types & _INTEGERS:
        return "dynamic"
    return "float16" if any(type_of(one) == "FLOAT16" for one in constants) else "float32"


def _of_onnx(path: Path) -> Precision:
    import onnx

    model = read_onnx(path)
    kinds = {node.op_type for node in model.graph.node}
    if kinds & _DYNAMIC_NODES:
        return "dynamic"
    if kinds & _INT8_NODES:
        zeros = {node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear" and len(node.input) > 2}
        types = {one.data_type for one in model.graph.initializer if one.name in zeros}
        return "int16x8" if types & {onnx.TensorProto.INT16, onnx.TensorProto.UINT16} else "int8"
    types = {one.data_type for one in model.graph.initializer}
    if types & {onnx.TensorProto.INT8, onnx.TensorProto.UINT8} and "DequantizeLinear" in kinds:
        return "dynamic"
    return "float16" if onnx.TensorProto.FLOAT16 in types else "float32"
