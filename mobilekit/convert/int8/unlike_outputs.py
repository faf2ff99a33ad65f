"""Outputs that one scale of int8 does not hold: boxes in pixels beside scores of 0 to 1.

All of an output shares one scale. Where a part of it has so narrow a range that few of the 256 levels are left for it,
the output stays in float, with all that leads to it from the dense layers before.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.float_regions import leading_to
from mobilekit.artifacts.tflite import TFLiteGraph, kinds, pack, type_of, unpack
from mobilekit.convert.int8.calibration import Observed

FEWEST_LEVELS, OF_VALUES = 16, 100
"""A part that has as many values as the second, and would have fewer levels than the first, fails in the ledger."""


def unlike_outputs(content: bytes, observed: Observed) -> dict[str, int]:
    """Return the outputs of which a part would have too few of int8's levels: their numbers, by the signature's names.

    Probabilities are none of them: their parts are of one kind, however small.

    Args:
        content: The float32 file.
        observed: What it did on calibration inputs.
    """
    graph = TFLiteGraph(content)
    names = dict(zip(graph.outputs(), graph.names()[1], strict=True))
    return {
        names[number]: number
        for number in (observed.outputs[0] if observed.outputs else ())
        if number in graph.makers
        and graph.kinds[graph.makers[number]] != "SOFTMAX"
        and _is_unlike(np.concatenate([run[number] for run in observed.outputs]))
    }


def tensors_before(content: bytes, outputs: Collection[int]) -> set[str]:
    """Return the names of these outputs and of all that leads to them from the dense layers before."""
    graph = TFLiteGraph(content)
    return leading_to(graph, [graph.makers[number] for number in outputs])


def with_float_outputs(content: bytes, names: Collection[str]) -> bytes:
    """Return an int8 file that gives these outputs as the float32 that the quantizer has rounded last.

    Args:
        content: The file, with one graph and a signature.
        names: Of outputs, in the signature, that the ops before leave in float.
    """
    if not names:
        return content
    model = unpack(content)
    graph = model.subgraphs[0]
    _leave_out_roundings(model)
    for one in model.signatureDefs[0].outputs:
        number = int(one.tensorIndex)
        op = next(each for each in graph.operators if number in each.outputs)
        source = int(op.inputs[0])
        if one.name.decode() in names and _kind(model, op) == "QUANTIZE":
            graph.operators.remove(op)
            tensors = graph.tensors
            tensors[source].name, tensors[number].name = tensors[number].name, tensors[source].name
            graph.outputs = np.array([source if it == number else it for it in graph.outputs], np.int32)
            one.tensorIndex = source
    return pack(model)


def _leave_out_roundings(model: Any) -> None:
    """Let what reads a float tensor that was made int8 and float again read it as it was before.

    The quantizer puts such a pair behind each sigmoid before a concatenation, though both stay in float.
    """
    graph = model.subgraphs[0]
    makers = {int(made): op for op in graph.operators for made in op.outputs}
    for op in list(graph.operators):
        before = makers.get(int(op.inputs[0])) if _kind(model, op) == "DEQUANTIZE" else None
        if before is not None and _kind(model, before) == "QUANTIZE":
            source, made = int(before.inputs[0]), int(op.outputs[0])
            if type_of(graph.tensors[source]) == "FLOAT32" and made not in graph.outputs:
                graph.operators.remove(op)
                for other in graph.operators:
                    other.inputs = np.array([source if it == made else it for it in other.inputs], np.int32)
    read = {int(number) for op in graph.operators for number in op.inputs} | {int(number) for number in graph.outputs}
    graph.operators = [op for op in graph.operators if read & {int(made) for made in op.outputs}]


def _kind(model: Any, op: Any) -> str:
    kind: str = kinds(model)[op.opcodeIndex]
    return kind


def _is_unlike(values: NDArray[np.float32]) -> bool:
    """Return whether a part along the channels, or along the second axis, has too few levels; (N, ...)."""
    step = float(values.max() - values.min()) / 255
    for axis in {1, values.ndim - 1} if values.ndim > 2 else ():
        parts = np.sort(np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1), axis=1)
        levels = (parts[:, -1] - parts[:, 0]) / (step or 1)
        different = 1 + (np.diff(parts, axis=1) != 0).sum(1)
        if ((levels < FEWEST_LEVELS) & (different >= OF_VALUES)).any():
            return True
    return False
