"""Products with constant matrices as TFLite's FULLY_CONNECTED: onnx2tf's direct writer leaves those of three axes.

A BATCH_MATMUL with constants is slower where no delegate runs it, stays in float where `attention` does, and takes no
bias.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from mobilekit.artifacts.tflite import constant, kinds, numbers, pack, schema, unpack


def with_fully_connected(content: bytes) -> bytes:
    """Return a float32 file with its products with constant matrices, and the biases after them, as FULLY_CONNECTED."""
    model = unpack(content)
    graph = model.subgraphs[0]
    codes = kinds(model)
    readers = Counter(int(taken) for op in graph.operators for taken in op.inputs)
    readers.update(map(int, graph.outputs))
    adders = {int(taken): op for op in graph.operators if codes[op.opcodeIndex] == "ADD" for taken in op.inputs}
    for op in list(graph.operators):
        if codes[op.opcodeIndex] != "BATCH_MATMUL" or op.builtinOptions.adjX:
            continue
        matrix = constant(model, graph.tensors[int(op.inputs[1])])
        if matrix is None or matrix.ndim != 2:
            continue
        weights = matrix if op.builtinOptions.adjY else matrix.T
        made = int(op.outputs[0])
        adder = adders.get(made) if readers[made] == 1 else None
        bias = _bias(model, adder, made, len(weights)) if adder is not None else None
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


def _turn(model: Any, op: Any, weights: Any, bias: int | None) -> None:
    """Make a product a FULLY_CONNECTED with these weights (out, in)."""
    tensors = model.subgraphs[0].tensors
    old = tensors[int(op.inputs[1])]
    buffer = schema().BufferT()
    buffer.data = np.frombuffer(weights.tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor = schema().TensorT()
    tensor.name, tensor.type = (old.name or b"") + f"_{len(tensors)}".encode(), old.type
    tensor.shape, tensor.buffer = np.array(weights.shape, np.int32), len(model.buffers) - 1
    tensors.append(tensor)
    op.inputs = np.array([int(op.inputs[0]), len(tensors) - 1, -1 if bias is None else bias], np.int32)
    options = schema().FullyConnectedOptionsT()
    options.keepNumDims = True
    op.builtinOptionsType, op.builtinOptions = schema().BuiltinOptions.FullyConnectedOptions, options
    op.opcodeIndex = _code(model)


def _code(model: Any) -> int:
    known = kinds(model)
    if "FULLY_CONNECTED" not in known:
        code = schema().OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema().BuiltinOperator.FULLY_CONNECTED
        code.version = 1
        model.operatorCodes.append(code)
        return len(model.operatorCodes) - 1
    return known.index("FULLY_CONNECTED")
