"""Ops that onnx2tf's direct writer chooses, in the forms that delegates and quantizers know.

It pads with PADV2 and a value of one axis, which TensorFlow's quantizer refuses, also with zeros; and it shuffles
channels by GATHER, which XNNPACK has not. It flattens rows before FULLY_CONNECTED, which does so itself, and gives
PRELU's slopes an axis for the batch. TensorFlow Lite's converter makes PAD, RESHAPE and TRANSPOSE, and nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def with_known_forms(content: bytes) -> bytes:
    """Return a float32 file with the same values to the bit and ops that others know.

    Args:
        content: The file, with one graph whose shapes are all known.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    for op in list(graph.operators):
        kind = kinds(model)[op.opcodeIndex]
        if kind == "PADV2":
            _pad(model, op)
        elif kind == "GATHER":
            _shuffle(model, op)
        elif kind == "FULLY_CONNECTED":
            _read_unflattened(model, op)
        elif kind == "PRELU":
            _slopes_of_one_input(model, op)
    return pack(model)


def _pad(model: Any, op: Any) -> None:
    """Make a PADV2 a PAD where it pads with zeros; else its value is one of no axes."""
    tensors = model.subgraphs[0].tensors
    value = constant(model, tensors[int(op.inputs[2])])
    if value is None or value.size != 1:
        return
    if value.item() == 0:
        op.opcodeIndex, op.inputs = code_of(model, "PAD"), np.array(op.inputs[:2], np.int32)
        op.builtinOptionsType, op.builtinOptions = schema().BuiltinOptions.PadOptions, schema().PadOptionsT()
    else:
        op.inputs = np.array([*op.inputs[:2], add_constant(model, value.reshape(()))], np.int32)


def _slopes_of_one_input(model: Any, op: Any) -> None:
    """Give a PRELU slopes without an axis for the batch, which TensorFlow's quantizer wants so."""
    tensors = model.subgraphs[0].tensors
    slopes = constant(model, tensors[int(op.inputs[1])])
    if slopes is not None and slopes.ndim == len(tensors[int(op.inputs[0])].shape) and slopes.shape[0] == 1:
        op.inputs = np.array([op.inputs[0], add_constant(model, slopes[0])], np.int32)


def _shuffle(model: Any, op: Any) -> None:
    """Make a GATHER that shuffles channels a TRANSPOSE of groups between RESHAPEs."""
    graph = model.subgraphs[0]
    shape, axis = numbers(graph.tensors[int(op.inputs[0])].shape), int(op.builtinOptions.axis)
    order = constant(model, graph.tensors[int(op.inputs[1])])
    groups = 0 if order is None or order.ndim != 1 else _groups(order, shape[axis])
    if not groups or op.builtinOptions.batchDims:
        return
    axis %= len(shape)
    apart = [*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :]]
    turn = [*range(axis), axis + 1, axis, *range(axis + 2, len(apart))]
    source, made = int(op.inputs[0]), int(op.outputs[0])
    first = _computed(model, source, apart)
    second = _computed(model, source, [apart[place] for place in turn])
    place = graph.operators.index(op)
    graph.operators[place : place + 1] = [
        _op(model, "RESHAPE", [source, add_constant(model, np.array(apart, np.int32))], first),
        _op(model, "TRANSPOSE", [first, add_constant(model, np.array(turn, np.int32))], second),
        _op(model, "RESHAPE", [second, add_constant(model, np.array(shape, np.int32))], made),
    ]


def _groups(order: NDArray[Any], count: int) -> int:
    """Return into how many groups channels are parted that come in this order; 0 where that is no shuffle."""
    rows = int(order[1] - order[0]) if len(order) == count > 1 else 0
    if rows < 2 or count % rows:
        return 0
    groups = count // rows
    return groups if np.array_equal(order, np.arange(count).reshape(groups, rows).T.ravel()) else 0


def _read_unflattened(model: Any, op: Any) -> None:
    """Let a FULLY_CONNECTED take what was flattened for it."""
    graph = model.subgraphs[0]
    taken = int(op.inputs[0])
    readers = Counter(int(number) for each in graph.operators for number in each.inputs)
    readers.update(map(int, graph.outputs))
    maker = next((each for each in graph.operators if taken in map(int, each.outputs)), None)
    if maker is None or kinds(model)[maker.opcodeIndex] != "RESHAPE" or readers[taken] != 1:
        return
    source = int(maker.inputs[0])
    same = graph.tensors[source].shape[-1] == graph.tensors[taken].shape[-1]
    if same and not op.builtinOptions.keepNumDims:
        op.inputs = np.array([source, *op.inputs[1:]], np.int32)
        graph.operators.remove(maker)


def _computed(model: Any, like: int, shape: list[int]) -> int:
    tensor = model.subgraphs[0].tensors[like]
    name = f"{(tensor.name or b'').decode()}_{len(model.subgraphs[0].tensors)}"
    return add_tensor(model, name, type_of(tensor), shape)


def _op(model: Any, kind: str, taken: list[int], made: int) -> Any:
    op = new_op(model, kind, taken, made)
    if kind == "RESHAPE":
        op.builtinOptions.newShape = np.array(model.subgraphs[0].tensors[made].shape, np.int32)
    return op
