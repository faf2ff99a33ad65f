"""Grouped convolutions with a kernel of 1 x 1 and weights of 8 bits, as dense ones with zeros between the groups.

LiteRT's GPU accelerator computes the grouped ones wrongly, without a word (findings/litert-gpu-grouped-pointwise.sh).
"""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.analysis.runtime_fault_forms import is_grouped_pointwise
from mobilekit.artifacts.tflite import TFLiteGraph, add_constant, constant

_WEIGHTS = 1


def with_dense_pointwise(content: bytes) -> tuple[bytes, int]:
    """Return a TFLite file in which all such convolutions are dense, and how many there were.

    It is the same function: weights of 8 bits have no zero point, so that a weight between groups is 0.

    Args:
        content: The file, with one graph.
    """
    graph = TFLiteGraph(content)
    grouped = [number for number in graph.ops_of(["CONV_2D"]) if is_grouped_pointwise(graph, number)]
    dense: dict[int, int] = {}
    for number in grouped:
        taken, weights = graph.operands[number][:2]
        if weights not in dense:
            dense[weights] = _add_dense(graph, weights, graph.shape(taken)[-1])
        graph.set_operand(number, _WEIGHTS, dense[weights])
    for weights in dense:
        _drop(graph, weights)
    return graph.content() if grouped else content, len(grouped)


def _add_dense(graph: TFLiteGraph, weights: int, channels: int) -> int:
    """Add the dense weights, (out, 1, 1, channels), of grouped ones, (out, 1, 1, channels / groups)."""
    tensor = graph.tensors[weights]
    values = constant(graph.model, tensor)
    assert values is not None
    made = add_constant(graph.model, _spread(values, channels), graph.name(weights))
    graph.tensors[made].quantization = copy.deepcopy(tensor.quantization)
    return made


def _drop(graph: TFLiteGraph, weights: int) -> None:
    """Drop values that nothing reads any more; tensors of equal values share theirs."""
    buffer = graph.tensors[weights].buffer
    sharing = [number for number, tensor in enumerate(graph.tensors) if tensor.buffer == buffer]
    if not any(number in taken for taken in graph.operands for number in sharing):
        graph.model.buffers[buffer].data = None


def _spread(values: NDArray[np.int8], channels: int) -> NDArray[np.int8]:
    out, height, width, per_group = values.shape
    groups = channels // per_group
    blocks = np.zeros((groups, out // groups, height, width, groups, per_group), values.dtype)
    each = np.arange(groups)
    blocks[each, :, :, :, each] = values.reshape(groups, out // groups, height, width, per_group)
    return blocks.reshape(out, height, width, channels)
