"""Biases that make up for what rounding the weights to int8 moves each channel's mean by.

Two thirds of what int8 weights cost are such shifts: the mean of `(W - rounded W) x` over what a layer takes is not 0.
It is added to the layer's bias, which is int32 in an int8 file and has room for it (Nagel et al. 2019, arXiv
1906.04721, section 4.2). The means are of the float network: corrected in sequence, on inputs that are rounded too, a
layer would also take what ranges cut of one picture for a shift, and hand it to every picture.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.tflite import TFLiteGraph, add_constant, constant, schema

Array = NDArray[np.float64]

_CHANNELS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""The layers, and which axis of the weights has the outputs' channels: each channel has a scale of its own in int8."""
_LARGEST = 127
"""Weights are -127 to 127 (TFLite's quantization specification, "restricted range")."""


def inputs_of_layers(graph: TFLiteGraph, kept: Collection[str] = ()) -> set[int]:
    """Return the tensors whose mean `correct_biases` asks for."""
    return {graph.operands[op][0] for op in _layers(graph, kept)}


def correct_biases(graph: TFLiteGraph, means: Mapping[int, NDArray[np.floating]], kept: Collection[str] = ()) -> None:
    """Add to the bias of each layer what rounding its weights to int8 will take from its channels on average.

    Args:
        graph: Of a float32 file; it is changed.
        means: Of each layer's input, over the pictures of a calibration set, in the input's shape.
        kept: Names of tensors that stay in float: the layers that make them keep their weights.
    """
    for op in _layers(graph, kept):
        source, number = graph.operands[op][:2]
        weights = constant(graph.model, graph.tensors[number])
        assert weights is not None
        lost = weights - rounded(weights, _CHANNELS[graph.kinds[op]])
        _add_to_bias(graph, op, _mean_output(graph, op, lost, means[source].astype(np.float64)))


def rounded(weights: NDArray[np.float32], channels: int | None) -> Array:
    """Return weights as int8 has them, each channel with a scale of its own.

    Args:
        weights: float32, of any shape.
        channels: The axis of the channels; None where all have one scale.
    """
    others = tuple(axis for axis in range(weights.ndim) if axis != channels)
    scale = np.abs(weights).max(others, keepdims=True).astype(np.float64) / _LARGEST
    scale[scale == 0] = 1
    return np.asarray(np.rint(weights / scale) * scale)


def _layers(graph: TFLiteGraph, kept: Collection[str]) -> list[int]:
    """Return the ops whose weights will be int8."""
    return [
        op
        for op in graph.ops_of(_CHANNELS)
        if graph.is_constant(graph.operands[op][1])
        and graph.is_float32(graph.operands[op][1])
        and not graph.is_constant(graph.operands[op][0])
        and graph.name(graph.results[op][0]) not in kept
    ]


def _mean_output(graph: TFLiteGraph, op: int, weights: Array, mean: Array) -> Array:
    """Return the mean of each channel that an op without bias would make with these weights.

    An op is linear, so the mean of its outputs is the output of its inputs' mean.
    """
    kind = graph.kinds[op]
    if kind == "FULLY_CONNECTED":
        taken: Array = mean.reshape(-1, weights.shape[1]).mean(0)
        return np.asarray(weights @ taken)
    taps = _tap_means(mean.mean(0), weights.shape[1:3], graph.options(op))
    height, width, channels = taps.shape
    if kind == "DEPTHWISE_CONV_2D":
        of_each = weights.reshape(height, width, channels, -1)
        return np.asarray(np.einsum("yxcm,yxc->cm", of_each, taps)).reshape(-1)
    inner = weights.shape[3]
    groups = channels // inner
    of_groups = weights.reshape(groups, -1, height, width, inner)
    return np.asarray(np.einsum("goyxc,yxgc->go", of_groups, taps.reshape(height, width, groups, inner))).reshape(-1)


def _tap_means(mean: Array, kernel: tuple[int, ...], options: Any) -> Array:
    """Return the mean of what each tap of a convolution reads, (kernel height, kernel width, channels).

    Args:
        mean: Of the input, (height, width, channels).
        kernel: Its height and width.
        options: The op's: padding (https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2), strides and
            dilations.
    """
    strides = (options.strideH, options.strideW)
    dilations = (options.dilationHFactor, options.dilationWFactor)
    spans = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    sizes = mean.shape[:2]
    pads = [(0, 0), (0, 0)]
    if options.padding == schema().Padding.SAME:
        lacking = [
            max((-(-size // stride) - 1) * stride + span - size, 0)
            for size, stride, span in zip(sizes, strides, spans, strict=True)
        ]
        pads = [(one // 2, one - one // 2) for one in lacking]
    padded = np.pad(mean, [*pads, (0, 0)])
    rows, columns = (
        (size - span) // stride * stride + 1 for size, stride, span in zip(padded.shape, strides, spans, strict=False)
    )
    taps = [
        padded[y : y + rows : strides[0], x : x + columns : strides[1]].mean((0, 1))
        for y in range(0, spans[0], dilations[0])
        for x in range(0, spans[1], dilations[1])
    ]
    return np.stack(taps).reshape(*kernel, -1)


def _add_to_bias(graph: TFLiteGraph, op: int, addend: Array) -> None:
    """Give an op a bias of its own, which is larger by this."""
    taken = graph.operands[op]
    before = constant(graph.model, graph.tensors[taken[2]]) if len(taken) > 2 and taken[2] >= 0 else None
    bias = addend if before is None else before.astype(np.float64) + addend
    graph.set_operand(op, 2, add_constant(graph.model, bias.astype(np.float32), "corrected_bias"))
