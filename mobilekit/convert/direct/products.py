"""Products with constant matrices as TFLite's FULLY_CONNECTED: onnx2tf's direct writer leaves those of three axes.

A BATCH_MATMUL with constants is slower where no delegate runs it, stays in float where `attention` does, and takes no
bias.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from mobilekit.artifacts.tflite import (
    add_constant,
    add_tensor,
    code_of,
    constant,
    kinds,
    new_op,
    numbers,
    pack,
    schema,
    type_of,
    unpack,
)


def with_fully_connected(content: bytes) -> bytes:
    """Return a float32 file with its products with constant matrices, and the biases after them, as FULLY_CONNECTED."""
    model = unpack(content)
    graph = model.subgraphs[0]
    codes = kinds(model)
    readers = Counter(int(taken) for op in graph.operators for taken in op.inputs)
    readers.update(map(int, graph.outputs))
    adders = {int(taken): op for op in graph.operators if codes[op.opcodeIndex] == "ADD" for taken in op.inputs}
    for op in list(graph.operators):
        if codes[op.opcodeIndex] != "BATCH_MATMUL":
            continue
        matrix = constant(model, graph.tensors[int(op.inputs[1])])
        if matrix is None or matrix.ndim != 2:
            continue
        weights = matrix if op.builtinOptions.adjY else matrix.T
        made = int(op.outputs[0])
        adder = adders.get(made) if readers[made] == 1 else None
        bias = _bias(model, adder, made, len(weights)) if adder is not None else None
        if op.builtinOptions.adjX:
            graph.operators.insert(graph.operators.index(op), _transpose_factor(model, op))
        _turn(model, op, np.ascontiguousarray(weights), bias)
        if adder is not None and bias is not None:
            op.builtinOptions.fusedActivationFunction = adder.builtinOptions.fusedActivationFunction
            op.outputs = adder.outputs
            graph.operators.remove(adder)
    return pack(model)


def _bias(model: Any, adder: Any, made: int, channels: int) -> int | None:
    """Return the tensor that an ADD adds to a product, if it is a bias."""
    (other,) = [int(one) for one in adder.inputs if int(one) != made] or [made]
    tensor = model.subgraphs[0].tensors[other]
    values = constant(model, tensor)
    return other if values is not None and numbers(tensor.shape) == [channels] else None


def _transpose_factor(model: Any, op: Any) -> Any:
    """Let a product take its first factor with its last two axes changed, and return the TRANSPOSE that does it."""
    taken = int(op.inputs[0])
    factor = model.subgraphs[0].tensors[taken]
    *others, row, column = range(len(factor.shape))
    order = np.array([*others, column, row], np.int32)
    name = f"{(factor.name or b'').decode()}_{len(model.subgraphs[0].tensors)}"
    made = add_tensor(model, name, type_of(factor), [int(factor.shape[axis]) for axis in order])
    turn = new_op(model, "TRANSPOSE", [taken, add_constant(model, order)], made)
    op.inputs = np.array([made, *op.inputs[1:]], np.int32)
    return turn


def _turn(model: Any, op: Any, weights: Any, bias: int | None) -> None:
    """Make a product a FULLY_CONNECTED with these weights (out, in)."""
    name = (model.subgraphs[0].tensors[int(op.inputs[1])].name or b"").decode()
    matrix = add_constant(model, weights, name)
    op.inputs = np.array([int(op.inputs[0]), matrix, -1 if bias is None else bias], np.int32)
    options = schema().FullyConnectedOptionsT()
    options.keepNumDims = True
    op.builtinOptionsType, op.builtinOptions = schema().BuiltinOptions.FullyConnectedOptions, options
    op.opcodeIndex = code_of(model, "FULLY_CONNECTED")
