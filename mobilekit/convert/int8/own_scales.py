"""Maps that keep their own scale beside ops whose tensors all have one.

A join, a choice and a minimum of several maps have one scale for all that they take and make. The quantizer gives the
scale of what is made to what is taken, also where others read that: a map beside its own clamp is cut for all of them,
and a narrow one in a join gets few levels. So such an op takes a copy. What moves values or averages them hands the
scale on, so that a map is also cut by a minimum of its transpose.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from mobilekit.artifacts.tflite import TFLiteGraph, add_constant, add_tensor, new_op
from mobilekit.convert.int8.ranges import NARROWER, Range

_ONE_SCALE = ("CONCATENATION", "MAXIMUM", "MINIMUM", "PACK", "PADV2", "SELECT", "SELECT_V2")
_HANDING_ON = (
    *("AVERAGE_POOL_2D", "BATCH_TO_SPACE_ND", "BROADCAST_TO", "DEPTH_TO_SPACE", "EXPAND_DIMS", "GATHER", "GATHER_ND"),
    *("MAX_POOL_2D", "MIRROR_PAD", "PAD", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2"),
    *("SLICE", "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TILE"),
    *("TRANSPOSE", "UNPACK"),
)
"""What an op of these makes has the scale of what it takes."""
_FIXED = ("LOGISTIC", "LOG_SOFTMAX", "L2_NORMALIZATION", "SOFTMAX", "TANH")
"""What these ops make has one scale, whatever its range (TensorFlow Lite 8-bit quantization specification)."""
ALONE = "_alone_"
"""In the name of what such a sum makes."""
_NEXT_TO_NOTHING = 1e-30  # a sum with 0 would be left out
_BEYOND = 1 / 255
"""Of a range: a map that goes further than a step beyond it is cut."""


def with_copies(content: bytes, ranges: Mapping[int, Range]) -> tuple[bytes, set[str]]:
    """Return a float32 file in which such ops take copies of what others read too, and what has to stay in float.

    A copy is a product with 1: TensorFlow's quantizer leaves that out, and where it was, a QUANTIZE that changes the
    scale. Where int8 fixes the scale of the map, as a sigmoid's, that QUANTIZE would be for all who read it. So there
    the op stays in float, and a sum keeps its scale from the map; `roundings.without_roundings` takes it out again.

    Args:
        content: The file, with one graph; what it has keeps its number.
        ranges: Those that int8 is to have, by tensor.
    """
    graph = TFLiteGraph(content)
    shared, in_float = _shared(graph, ranges), set[str]()
    if not shared:
        return content, in_float
    model = graph.model
    operators = list(model.subgraphs[0].operators)
    for number, place in shared:
        source, result, op = graph.operands[number][place], graph.results[number][0], operators[number]
        is_fixed = source in graph.makers and graph.kinds[graph.makers[source]] in _FIXED
        kind, value, word = ("ADD", _NEXT_TO_NOTHING, ALONE) if is_fixed else ("MUL", 1, "_apart_")
        constant = add_constant(model, np.array(value, np.float32), "constant")
        copy = add_tensor(model, f"{graph.name(source)}{word}{constant}", "FLOAT32", graph.shape(source))
        graph.set_range(copy, *ranges[result])
        if is_fixed:
            in_float |= {f"{graph.name(source)}{word}{constant}", graph.name(result)}
        taken = [int(each) for each in op.inputs]
        taken[place] = copy
        op.inputs = np.array(taken, np.int32)
        model.subgraphs[0].operators.insert(_place(model, op), new_op(model, kind, [source, constant], copy))
    return graph.content(), in_float


def _shared(graph: TFLiteGraph, ranges: Mapping[int, Range]) -> list[tuple[int, int]]:
    """Return each such op, and the place of an operand of another range whose scale something else needs."""
    outputs = set(graph.own_outputs().values())  # one that shows a value inside must not change the file
    return [
        (number, place)
        for number in graph.ops_of(_ONE_SCALE)
        for place, taken in enumerate(graph.operands[number])
        if taken in ranges
        and graph.results[number][0] in ranges
        and _is_unlike(ranges[taken], ranges[graph.results[number][0]])
        and _is_read_elsewhere(graph, taken, ranges, outputs)
    ]


def _is_read_elsewhere(graph: TFLiteGraph, tensor: int, scaled: Collection[int], outputs: Collection[int]) -> bool:
    """Return whether a scale given to a tensor reaches what more than its one reader reads, or an output."""
    behind = [tensor]
    seen: set[int] = set()
    while behind:
        each = behind.pop()
        if each in outputs or len(graph.readers[each]) > 1:
            return True
        maker = graph.makers.get(each)
        if maker is None or maker in seen or graph.kinds[maker] not in (*_HANDING_ON, *_ONE_SCALE):
            continue
        seen.add(maker)
        if any(graph.readers[other] for other in graph.results[maker] if other != each):
            return True
        behind += [taken for taken in graph.operands[maker] if taken in scaled]
    return False


def _is_unlike(own: Range, common: Range) -> bool:
    wide = max(common[1] - common[0], 1e-30)
    beyond = max(common[0] - own[0], own[1] - common[1])
    return beyond > _BEYOND * wide or (own[1] - own[0]) * NARROWER < wide


def _place(model: Any, op: Any) -> int:
    return next(place for place, each in enumerate(model.subgraphs[0].operators) if each is op)
