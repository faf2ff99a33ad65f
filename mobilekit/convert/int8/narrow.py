"""Ranges that are too narrow for the layer that makes the map, made wider.

A map that is 0 on all calibration pictures, as behind a ReLU that never opens, would have steps of next to nothing, and
kernels take no such layers. Its zeros stay zeros in any range.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from mobilekit.artifacts.tflite import TFLiteGraph, constant
from mobilekit.convert.int8.ranges import Range

_MOST = 2.0**7
"""How many steps of its result one step of an op's sums may be: XNNPACK's 8-bit convolutions, products and sums take
less than 2^8 (`xnn_create_convolution2d_nhwc_qs8_qc8w` and the like)."""
_LEAST_TERM = 2.0**-9
"""How many steps of a sum's result one step of a term has to be: XNNPACK's sums take 2^-10."""
_DENSE = {"CONV_2D": (0, 1), "DEPTHWISE_CONV_2D": (0, 1), "FULLY_CONNECTED": (0, 1), "TRANSPOSE_CONV": (2, 1)}
"""Places of the values and of the weights among the operands."""
_SUMS = ("ADD", "SUB")
_SCALED = ("LEAKY_RELU", "MEAN", "PRELU", "SUM")
_FIXED = {"LOGISTIC": 1 / 256, "SOFTMAX": 1 / 256, "TANH": 1 / 128}
"""Steps that int8 gives what these make, whatever it is (TensorFlow Lite 8-bit quantization specification)."""


def wide_enough(graph: TFLiteGraph, ranges: Mapping[int, Range]) -> dict[int, Range]:
    """Return ranges of which those that are too narrow are wider, and all others as they are.

    Args:
        graph: Of the float32 file.
        ranges: Lowest and highest value of tensors, by their numbers.
    """
    found = dict(ranges)
    for _ in range(2):  # what a term needs may make a sum before it too narrow
        for op, results in enumerate(graph.results):
            if (step := _step_of_sums(graph, op, found)) is not None:
                _widen(found, results[0], step / _MOST)
        for op in reversed(graph.ops_of(_SUMS)):
            for term in graph.operands[op]:
                _widen(found, term, _step(graph, graph.results[op][0], found) * _LEAST_TERM)
    return found


def _step_of_sums(graph: TFLiteGraph, op: int, ranges: Mapping[int, Range]) -> float | None:
    """Return the step of what an op adds up before it rounds; None of an op that is none of these."""
    kind, operands = graph.kinds[op], graph.operands[op]
    if kind in _DENSE:
        value, weights = (operands[place] for place in _DENSE[kind])
        return _step(graph, value, ranges) * _weight_step(graph, weights)
    steps = [_step(graph, each, ranges) for each in operands]
    if kind in _SUMS:
        return max(steps)
    if kind == "MUL":
        return steps[0] * steps[1]
    return steps[0] if kind in _SCALED else None


def _widen(ranges: dict[int, Range], tensor: int, step: float) -> None:
    """Make a range at least 255 steps wide, 0 within."""
    if tensor not in ranges:
        return
    low, high = _with_zero(*ranges[tensor])
    if high - low < 255 * step:
        ranges[tensor] = (low, low + 255 * step) if high >= -low else (high - 255 * step, high)


def _step(graph: TFLiteGraph, tensor: int, ranges: Mapping[int, Range]) -> float:
    """Return the step of a value; 0 of what has none."""
    if tensor in ranges:
        low, high = _with_zero(*ranges[tensor])
        maker = graph.makers.get(tensor)
        return max((high - low) / 255, _FIXED.get(graph.kinds[maker], 0.0) if maker is not None else 0.0)
    low, high = next(_ends(graph, tensor), (0.0, 0.0))
    return (high - low) / 255


def _weight_step(graph: TFLiteGraph, tensor: int) -> float:
    low, high = next(_ends(graph, tensor), (0.0, 0.0))
    return max(-low, high) / 127


def _ends(graph: TFLiteGraph, tensor: int) -> Iterator[Range]:
    """Yield the ends of a constant of floats, 0 within; nothing of other tensors."""
    values = constant(graph.model, graph.tensors[tensor]) if graph.is_constant(tensor) else None
    if values is not None and values.dtype == np.float32 and values.size:
        yield _with_zero(float(values.min()), float(values.max()))


def _with_zero(low: float, high: float) -> Range:
    return min(low, 0.0), max(high, 0.0)
