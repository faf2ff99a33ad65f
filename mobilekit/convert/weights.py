"""float16 and dynamic-range files, made of a float32 TFLite file.

TensorFlow Lite's converter makes both of a SavedModel. What it does is little, and done here it needs no TensorFlow and
no SavedModel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.dynamic_cost import kept_float
from mobilekit.artifacts.tflite import (
    add_buffer,
    add_tensor,
    code_of,
    constant,
    kinds,
    new_op,
    numbers,
    pack,
    type_of,
    unpack,
)
from mobilekit.convert.unread import drop_unread

_SHORTEST = 1024
"""Weights with fewer values stay float32 in a dynamic-range file (TensorFlow Lite's `weights_min_num_elements`)."""
_WEIGHTS = {"CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1, "BATCH_MATMUL": 1}
"""The ops that a dynamic-range file rounds, with the place of their weights."""
_VERSIONS = {"CONV_2D": 5, "FULLY_CONNECTED": 12, "TRANSPOSE_CONV": 3, "BATCH_MATMUL": 4}
"""The versions of these ops in such files by TensorFlow Lite's converter: older runtimes must refuse them."""
_OF_ONE_SCALE = ("BATCH_MATMUL",)


def float16(content: bytes) -> bytes:
    """Return a float32 file with all constants that ops take in float16, each before a DEQUANTIZE.

    Values beyond float16's range saturate.

    Args:
        content: The file, with one graph.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    wanted = dict.fromkeys(
        int(number)
        for op in graph.operators
        for number in op.inputs
        if number >= 0 and type_of(graph.tensors[number]) == "FLOAT32"
    )
    kept = {*map(int, graph.outputs)}
    added = []
    for number in wanted:
        values = constant(model, graph.tensors[number])
        if values is not None and number not in kept:
            added.append(_dequantize(model, number, values))
    graph.operators = [*added, *graph.operators]
    drop_unread(model)
    return pack(model)


def _dequantize(model: Any, number: int, values: NDArray[Any]) -> Any:
    """Let a constant be computed of one in float16, and return the op that does it."""
    tensor = model.subgraphs[0].tensors[number]
    limit = np.finfo(np.float16).max
    half = add_tensor(model, (tensor.name or b"").decode() + "_float16", "FLOAT16", numbers(tensor.shape))
    model.subgraphs[0].tensors[half].buffer = add_buffer(model, np.clip(values, -limit, limit).astype(np.float16))
    tensor.buffer = 0
    return new_op(model, "DEQUANTIZE", [half], number, version=3)  # the first that takes float16


def dynamic(content: bytes) -> bytes:
    """Return a float32 file with weights in int8, which are multiplied with inputs that are rounded as they come.

    A scale for each channel of the output, but one for all of matrices that are multiplied one by one. Depthwise
    convolutions stay float32: XNNPACK has none of this kind, each would end a partition, and their weights are few. So
    does a convolution of a map with so few weights that rounding its inputs costs more than it saves.

    Args:
        content: The file, with one graph, in which convolutions with kernels of one channel each are DEPTHWISE_CONV_2D.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    found = kinds(model)
    rounded: dict[int, int] = {}
    left = kept_float(content)
    for index, op in enumerate(graph.operators):
        kind = found[op.opcodeIndex]
        place = _WEIGHTS.get(kind)
        if place is None or index in left:
            continue
        number = int(op.inputs[place])
        tensor = graph.tensors[number]
        values = constant(model, tensor) if number not in rounded else None
        if values is not None and type_of(tensor) == "FLOAT32" and values.size >= _SHORTEST:
            rounded[number] = _add_rounded(model, tensor, values, kind in _OF_ONE_SCALE)
        if number in rounded:
            op.inputs = np.array([*op.inputs[:place], rounded[number], *op.inputs[place + 1 :]], np.int32)
            op.opcodeIndex = code_of(model, kind, _VERSIONS[kind])
            if hasattr(op.builtinOptions, "asymmetricQuantizeInputs"):
                op.builtinOptions.asymmetricQuantizeInputs = True
    drop_unread(model)
    return pack(model)


def _add_rounded(model: Any, tensor: Any, values: NDArray[Any], is_of_one_scale: bool) -> int:
    """Add a constant as int8, and return its number; the first axis is that of the output's channels."""
    others = tuple(range(0 if is_of_one_scale else 1, values.ndim))
    scales = np.maximum(np.abs(values).max(axis=others, keepdims=True), np.finfo(np.float32).tiny) / 127
    number = add_tensor(model, (tensor.name or b"").decode() + "_int8", "INT8", list(values.shape))
    made = model.subgraphs[0].tensors[number]
    made.buffer = add_buffer(model, np.round(values / scales).astype(np.int8))
    made.quantization.scale = scales.ravel().astype(np.float32)
    made.quantization.zeroPoint = np.zeros(scales.size, np.int64)
    made.quantization.quantizedDimension = 0
    return number
