"""Convolutions with kernels of one channel each, as TFLite's DEPTHWISE_CONV_2D.

onnx2tf writes some of them as CONV_2D with as many groups as channels: those whose input was left in ONNX's order of
axes. XNNPACK computes both alike. TFLite's GPU delegates make a convolution of each group, between a split and a
concatenation, or refuse the whole graph (tensorflow/tensorflow issue 61321).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from mobilekit.artifacts.tflite import add_buffer, code_of, constant, kinds, pack, schema, unpack

_X, _WEIGHTS = 0, 1
_FIELDS = ("padding", "strideW", "strideH", "dilationWFactor", "dilationHFactor", "fusedActivationFunction")


def with_depthwise(content: bytes) -> bytes:
    """Return a TFLite file with all such convolutions as DEPTHWISE_CONV_2D, which give the same values to the bit.

    Args:
        content: The file, with one graph, and weights in float32 or in float16 before a DEQUANTIZE.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    codes = kinds(model)
    makers = {int(made): op for op in graph.operators for made in op.outputs}
    readers = Counter(int(taken) for op in graph.operators for taken in op.inputs)
    changed = False
    for op in graph.operators:
        if codes[op.opcodeIndex] != "CONV_2D" or not _is_depthwise(graph, op):
            continue
        weights = [int(op.inputs[_WEIGHTS])]
        if weights[0] in makers:  # float16
            weights.append(int(makers[weights[0]].inputs[_X]))
        if weights[-1] in makers or any(readers[tensor] != 1 for tensor in weights):
            continue
        _turn_weights(model, weights)
        _make_depthwise(model, op)
        changed = True
    return pack(model) if changed else content


def _is_depthwise(graph: Any, op: Any) -> bool:
    """Return whether each of several channels has kernels of its own."""
    channels, (out, _, _, depth) = graph.tensors[op.inputs[_X]].shape[3], graph.tensors[op.inputs[_WEIGHTS]].shape
    return bool(depth == 1 and channels > 1 and out % channels == 0)


def _turn_weights(model: Any, weights: list[int]) -> None:
    """Bring weights (out, height, width, 1) into the order (1, height, width, out); the last tensor has the values."""
    tensors = [model.subgraphs[0].tensors[number] for number in weights]
    values = constant(model, tensors[-1])
    assert values is not None
    turned = values.transpose(3, 1, 2, 0)
    old, tensors[-1].buffer = tensors[-1].buffer, add_buffer(model, turned)  # tensors of equal values share theirs
    if not any(tensor.buffer == old for tensor in model.subgraphs[0].tensors):
        model.buffers[old].data = None
    for tensor in tensors:
        tensor.shape = np.array(turned.shape, np.int32)


def _make_depthwise(model: Any, op: Any) -> None:
    """Make a CONV_2D with turned weights a DEPTHWISE_CONV_2D."""
    tensors = model.subgraphs[0].tensors
    options = schema().DepthwiseConv2DOptionsT()
    for field in _FIELDS:
        setattr(options, field, getattr(op.builtinOptions, field))
    options.depthMultiplier = int(tensors[op.inputs[_WEIGHTS]].shape[3]) // int(tensors[op.inputs[_X]].shape[3])
    op.builtinOptionsType, op.builtinOptions = schema().BuiltinOptions.DepthwiseConv2DOptions, options
    is_dilated = (options.dilationWFactor, options.dilationHFactor) != (1, 1)
    op.opcodeIndex = code_of(model, "DEPTHWISE_CONV_2D", version=2 if is_dilated else 1)
