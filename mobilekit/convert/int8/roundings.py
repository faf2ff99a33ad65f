"""Roundings inside of what stays in float, which the quantizer makes all the same.

It puts a QUANTIZE and a DEQUANTIZE behind each sigmoid before a concatenation though both stay in float, around a
split, which it does not know by its name, and before what has one scale for all that it takes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from mobilekit.artifacts.tflite import kinds, pack, schema, type_of, unpack
from mobilekit.convert.int8.own_scales import ALONE

_SPLITS = {"SPLIT": 1, "SPLIT_V": 0, "UNPACK": 0}
"""Ops that give parts of what they take, which stands at this place among their operands."""


def without_roundings(content: bytes) -> bytes:
    """Return an int8 file in which what reads a float that was made int8 and float again reads it as it was.

    Args:
        content: The file, with one graph.
    """
    model = unpack(content)
    _leave_sums_out(model)
    while _split_in_float(model) or _rescaled_in_float(model) or _read_before(model):
        drop_unread(model)
    return pack(model)


def rounded_floats(model: Any) -> dict[int, int]:
    """Return of each tensor that a QUANTIZE makes of a float32 one the number of that one."""
    graph, codes = model.subgraphs[0], kinds(model)
    pairs = [(op.outputs[0], op.inputs[0]) for op in graph.operators if codes[op.opcodeIndex] == "QUANTIZE"]
    return {int(made): int(taken) for made, taken in pairs if type_of(graph.tensors[taken]) == "FLOAT32"}


def drop_unread(model: Any) -> None:
    """Drop the ops that make nothing that is read."""
    graph = model.subgraphs[0]
    read = {int(number) for op in graph.operators for number in op.inputs} | {int(number) for number in graph.outputs}
    graph.operators = [op for op in graph.operators if read & {int(made) for made in op.outputs}]


def _leave_sums_out(model: Any) -> None:
    """Let what reads a sum that kept a map's scale from a join read the map."""
    graph, codes = model.subgraphs[0], kinds(model)
    sums = [op for op in graph.operators if codes[op.opcodeIndex] == "ADD"]
    own = {int(op.outputs[0]): int(op.inputs[0]) for op in sums if ALONE in graph.tensors[op.outputs[0]].name.decode()}
    _read_instead(graph, own)
    drop_unread(model)


def _read_before(model: Any) -> bool:
    """Let what reads a float that was rounded read it before that; return whether something did."""
    graph, codes, before = model.subgraphs[0], kinds(model), rounded_floats(model)
    again = {
        int(op.outputs[0]): before[int(op.inputs[0])]
        for op in graph.operators
        if codes[op.opcodeIndex] == "DEQUANTIZE" and int(op.inputs[0]) in before
    }
    return _read_instead(graph, again)


def _read_instead(graph: Any, again: Mapping[int, int]) -> bool:
    """Let the ops read other tensors in place of some; return whether one did."""
    readers = [op for op in graph.operators if again.keys() & {int(number) for number in op.inputs}]
    for op in readers:
        op.inputs = np.array([again.get(int(number), number) for number in op.inputs], np.int32)
    return bool(readers)


def _rescaled_in_float(model: Any) -> bool:
    """Let what makes a float of numbers whose scale was changed read them in the scale that they had."""
    graph, codes = model.subgraphs[0], kinds(model)
    int8 = [op for op in graph.operators if codes[op.opcodeIndex] == "QUANTIZE"]
    source = {int(op.outputs[0]): int(op.inputs[0]) for op in int8 if type_of(graph.tensors[op.inputs[0]]) == "INT8"}
    found = [op for op in graph.operators if codes[op.opcodeIndex] == "DEQUANTIZE" and int(op.inputs[0]) in source]
    for op in found:
        op.inputs = np.array([source[int(op.inputs[0])]], np.int32)
    return bool(found)


def _split_in_float(model: Any) -> bool:
    """Let a split of a float that was rounded, whose parts are made float again, split the float."""
    graph, codes, before = model.subgraphs[0], kinds(model), rounded_floats(model)
    readers: dict[int, list[Any]] = defaultdict(list)
    for op in graph.operators:
        for number in op.inputs:
            readers[int(number)].append(op)
    for op in graph.operators:
        place = _SPLITS.get(codes[op.opcodeIndex])
        if place is None or int(op.inputs[place]) not in before:
            continue
        after = [reader for part in op.outputs for reader in readers[int(part)]]
        if {codes[reader.opcodeIndex] for reader in after} != {"DEQUANTIZE"}:
            continue
        if set(map(int, op.outputs)) & set(map(int, graph.outputs)):
            continue
        taken = list(op.inputs)
        taken[place] = before[int(op.inputs[place])]
        op.inputs = np.array(taken, np.int32)
        for part in op.outputs:
            graph.tensors[part].type = schema().TensorType.FLOAT32
            graph.tensors[part].quantization = schema().QuantizationParametersT()
        again = {int(reader.outputs[0]): int(reader.inputs[0]) for reader in after}
        _read_instead(graph, again)
        return True
    return False
