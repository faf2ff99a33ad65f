"""int8 files whose values are int16: int16x8, with the weights of int8.

TensorFlow's quantizer gives constants that are added or multiplied 8 bits where values have 16, and then refuses the
graph. So a file is made int8, and each of its tensors but the weights gets 16 bits of a range around 0 that holds its
own. Where int8 fixes a step, that comes to the one that int16 fixes: a softmax's goes from 2^-8 to 2^-15.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.tflite import TFLiteGraph, add_buffer, constant, schema, type_of

NO_INT16_KERNEL = frozenset(
    {
        *("ARG_MAX", "ARG_MIN", "HARD_SWISH", "L2_NORMALIZATION", "LOG_SOFTMAX", "RELU_0_TO_1", "RELU_N1_TO_1"),
        "SQUARED_DIFFERENCE",
    }
)
"""Ops that LiteRT 2.3.0 computes in int8 and not in int16 (found by running files of one op): they stay in float."""
WITHOUT_SCALES = frozenset({"GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"})
"""Ops that LiteRT 2.3.0 computes in int16 by the steps alone, whatever the scales of the two are: so do these."""
_WEIGHTS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1, "PRELU": 1}
"""Which operand stays int8. LiteRT 2.3.0 takes int16 slopes of a PRELU as well, and reads them as int8."""
_BIASES = {"CONV_2D": (0, 2), "DEPTHWISE_CONV_2D": (0, 2), "FULLY_CONNECTED": (0, 2), "TRANSPOSE_CONV": (2, 3)}
"""Which operands are the value and the bias, whose step is that of the value times that of the weights."""
_LEVELS = 2**15
_VERSIONS = {
    2: ("LEAKY_RELU", "QUANTIZE"),
    3: (
        *("ABS", "ADD", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CONCATENATION", "DEQUANTIZE", "GATHER_ND", "LOGISTIC"),
        *("MAX_POOL_2D", "MEAN", "MIRROR_PAD", "PACK", "PAD", "PADV2", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6"),
        *("RSQRT", "SOFTMAX", "TANH"),
    ),
    4: (
        *("CONV_2D", "GATHER", "MAXIMUM", "MINIMUM", "MUL", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SLICE"),
        *("SPLIT", "UNPACK"),
    ),
    5: ("DEPTHWISE_CONV_2D", "SUB", "TRANSPOSE"),
    7: ("FULLY_CONNECTED",),
}
"""From which version on an op takes int16, for runtimes that are older (tensorflow/compiler/mlir/lite/tools/versioning/
op_version.cc); those that are not named do from their first on."""


def without_int16(graph: TFLiteGraph) -> set[str]:
    """Return the names of what ops make that have no int16 kernel, or no right one.

    Args:
        graph: Of a float32 file.
    """
    left = graph.ops_of(NO_INT16_KERNEL | WITHOUT_SCALES)
    return {graph.name(made) for op in left for made in graph.results[op]}


def in_int16(content: bytes, floats: TFLiteGraph) -> bytes:
    """Return an int8 file with values of int16, their zero points 0, and biases of int64.

    Args:
        content: The int8 file.
        floats: Of the float32 file that it was made of, which has the constants as they were.
    """
    graph = TFLiteGraph(content)
    before = [tensor.buffer for tensor in graph.tensors]
    known = {floats.name(it): it for it, tensor in enumerate(floats.tensors) if type_of(tensor) == "FLOAT32"}
    weights = {graph.operands[op][_WEIGHTS[graph.kinds[op]]] for op in graph.ops_of(_WEIGHTS)}
    for number, tensor in enumerate(graph.tensors):
        is_weight = number in weights and graph.is_constant(number)
        if type_of(tensor) == "INT8" and graph.is_quantized(number) and not is_weight:
            given = known.get(graph.name(number))
            _widen(graph, number, None if given is None else constant(floats.model, floats.tensors[given]))
    for op in graph.ops_of(_BIASES):
        _widen_bias(graph, op)
    for op in graph.ops_of(("ADD", "SUB")):
        graph.options(op).potScaleInt16 = False  # or only steps that are powers of two are taken
    _say_versions(graph)
    for unused in {*before} - {tensor.buffer for tensor in graph.tensors}:
        graph.model.buffers[unused].data = None
    return graph.content()


def _widen(graph: TFLiteGraph, number: int, exact: NDArray[np.float32] | None) -> None:
    """Make an int8 tensor int16, of a range that holds its own; a constant is rounded anew where it is known."""
    tensor = graph.tensors[number]
    scale, zero = float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
    step = scale * max(128 + zero, 128 - zero) / _LEVELS
    held = constant(graph.model, tensor)
    if held is not None:
        rounded = (held.astype(np.float64) - zero) * scale
        is_it = exact is not None and exact.shape == rounded.shape and np.abs(exact - rounded).max() <= scale
        values = exact if exact is not None and is_it else rounded  # the quantizer has constants of its own
        steps = np.clip(np.rint(values / step), -_LEVELS, _LEVELS - 1)
        tensor.buffer = add_buffer(graph.model, steps.astype(np.int16))
    tensor.type = schema().TensorType.INT16
    tensor.quantization.scale, tensor.quantization.zeroPoint = np.array([step], np.float32), np.array([0], np.int64)


def _widen_bias(graph: TFLiteGraph, op: int) -> None:
    """Make the bias of an int16 op int64, in steps that are as much finer as those of the value."""
    value, place = _BIASES[graph.kinds[op]]
    taken, weights = graph.operands[op], graph.operands[op][_WEIGHTS[graph.kinds[op]]]
    if len(taken) <= place or taken[place] < 0 or type_of(graph.tensors[taken[value]]) != "INT16":
        return
    bias = graph.tensors[taken[place]]
    steps = constant(graph.model, bias)
    if steps is None:
        return  # LiteRT will say that it takes no bias that is computed
    scales = np.asarray(graph.tensors[weights].quantization.scale, np.float64)
    step = scales * float(graph.tensors[taken[value]].quantization.scale[0])
    summands = steps * np.asarray(bias.quantization.scale, np.float64)
    bias.buffer = add_buffer(graph.model, np.rint(summands / step).astype(np.int64))
    bias.type, bias.quantization.scale = schema().TensorType.INT64, step.astype(np.float32)


def _say_versions(graph: TFLiteGraph) -> None:
    versions = {kind: version for version, kinds in _VERSIONS.items() for kind in kinds}
    for op, kind in enumerate(graph.kinds):
        ends = (*graph.operands[op], *graph.results[op])
        if any(number >= 0 and type_of(graph.tensors[number]) == "INT16" for number in ends):
            code = graph.code(op)
            code.version = max(code.version, versions.get(kind, 1))
