"""Some ops of a TFLite file as a file of their own."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from mobilekit.artifacts.tflite import numbers, pack, schema


def cut_tflite(source: Any, ops: Collection[int], inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """Return a TFLite file of some ops of another one's first graph, with the constants that they read.

    Args:
        source: The file's `ModelT`, which stays as it is; see `tflite.unpack`.
        ops: Numbers of the ops; those that make constants (unpacked weights) are added where these need them.
        inputs: Numbers of the tensors that the new file takes, in its order.
        outputs: Numbers of the tensors that it gives.

    Returns:
        A file without signatures.
    """
    graph = source.subgraphs[0]
    chosen = _with_makers_of_constants(graph, ops, inputs)
    tensors = list(
        dict.fromkeys([*inputs, *(one for number in chosen for one in _tensors_of(graph.operators[number]))])
    )
    places = {tensor: place for place, tensor in enumerate(tensors)}

    model, part = schema().ModelT(), schema().SubGraphT()
    model.version, model.subgraphs, model.buffers = source.version, [part], [schema().BufferT()]
    model.description = "A part of another model."
    part.tensors = [_tensor(source, graph.tensors[number], model.buffers, number in inputs) for number in tensors]
    codes = sorted({graph.operators[number].opcodeIndex for number in chosen})
    model.operatorCodes = [source.operatorCodes[code] for code in codes]
    part.operators = [_op(graph.operators[number], places, codes) for number in chosen]
    part.inputs = [places[number] for number in inputs]
    part.outputs = [places[number] for number in outputs]
    return pack(model)


def _present(listed: Iterable[Any] | None) -> list[int]:
    """Leave out the -1 of absent optional tensors."""
    return [number for number in numbers(listed) if number >= 0]


def _tensors_of(op: Any) -> list[int]:
    return [*_present(op.inputs), *_present(op.outputs), *_present(op.intermediates)]


def _with_makers_of_constants(graph: Any, ops: Collection[int], inputs: Collection[int]) -> list[int]:
    """Return the ops, and those that make what they read and what is not an input, in order."""
    makers = {tensor: number for number, op in enumerate(graph.operators) for tensor in _present(op.outputs)}
    chosen, waiting = set(ops), list(ops)
    while waiting:
        for tensor in _present(graph.operators[waiting.pop()].inputs):
            maker = makers.get(tensor)
            if maker is not None and maker not in chosen and tensor not in inputs:
                chosen.add(maker)
                waiting.append(maker)
    return sorted(chosen)


def _tensor(source: Any, tensor: Any, buffers: list[Any], is_input: bool) -> Any:
    """Return a tensor with its constant, if it has one, among the new file's buffers."""
    own = copy.copy(tensor)
    data = source.buffers[tensor.buffer].data
    own.buffer = 0
    if data is not None and len(data) and not is_input:
        own.buffer = len(buffers)
        buffers.append(source.buffers[tensor.buffer])
    return own


def _op(op: Any, places: dict[int, int], codes: list[int]) -> Any:
    own = copy.copy(op)
    own.opcodeIndex = codes.index(op.opcodeIndex)
    own.inputs = _moved(op.inputs, places)
    own.outputs = _moved(op.outputs, places)
    own.intermediates = _moved(op.intermediates, places)
    return own


def _moved(listed: Any, places: dict[int, int]) -> Any:
    if listed is None:
        return None
    return np.array([places[number] if number >= 0 else -1 for number in numbers(listed)], np.int32)
