"""Sums of two convolutions as one convolution of what both take, which int8 rounds once and not three times.

W1 a + W2 b is W [a, b]: exact, and the other way about than the rewrite concat-into-sum, by which float files never
make the concatenation. In int8 each part of the sum is rounded to 256 levels, and the sum once more; the concatenation
is a copy, and rounds nothing where both maps have ranges alike.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.tflite import TFLiteGraph, add_constant, add_tensor, constant, new_op, schema
from mobilekit.convert.int8.calibration import Observed
from mobilekit.convert.int8.ranges import NARROWER, WHOLE, Seen

_CHANNELS = 3
"""The axis of a map's channels, and of the inputs' channels in the weights (outputs, height, width, inputs)."""


def with_joined_sums(content: bytes, observed: Observed[int], kept: Collection[str]) -> tuple[bytes, Observed[int]]:
    """Return a float32 file with such sums joined, and what it would have done on the calibration inputs.

    Args:
        content: The file, with one graph; what stays of it keeps its number.
        observed: What it did.
        kept: Names of tensors that stay in float: their sums are left as they are.
    """
    graph = TFLiteGraph(content)
    sums = {number: parts for number in graph.ops_of(("ADD",)) if (parts := _parts(graph, number, observed.seen, kept))}
    if not sums:
        return content, observed
    dropped = {part for parts in sums.values() for part in parts}
    operators, seen, means = [], dict(observed.seen), dict(observed.means)
    for number, op in enumerate(graph.model.subgraphs[0].operators):
        if number in sums:
            maps = [graph.operands[part][0] for part in sums[number]]
            joined, ops = _join(graph, number, sums[number])
            seen[joined] = _together([seen[each] for each in maps])
            means[joined] = np.concatenate([means[each] for each in maps], _CHANNELS)
            operators += ops
        elif number in dropped:
            del seen[graph.results[number][0]]
        else:
            operators.append(op)
    graph.model.subgraphs[0].operators = operators
    return graph.content(), replace(observed, seen=seen, means=means)


def _parts(graph: TFLiteGraph, number: int, seen: Mapping[int, Seen], kept: Collection[str]) -> list[int]:
    """Return the two convolutions that an addition alone reads, where they can be one; else nothing."""
    parts = [graph.makers[each] for each in graph.operands[number] if _is_own(graph, each, kept)]
    if (
        len(parts) < 2
        or graph.name(graph.results[number][0]) in kept
        or len({_form(graph, part) for part in parts}) > 1
    ):
        return []
    maps = [graph.operands[part][0] for part in parts]
    if maps[0] == maps[1] or not {*maps} <= seen.keys():
        return []
    ranges = [seen[each].fitted(WHOLE) for each in maps]
    wide = max(high for _, high in ranges) - min(low for low, _ in ranges)
    return parts if all((high - low) * NARROWER >= wide for low, high in ranges) else []


def _is_own(graph: TFLiteGraph, tensor: int, kept: Collection[str]) -> bool:
    """Return whether a dense convolution to be quantized makes a tensor, which one op reads."""
    maker = graph.makers.get(tensor)
    if maker is None or graph.kinds[maker] != "CONV_2D" or graph.name(tensor) in kept:
        return False
    source, weights = graph.operands[maker][:2]
    is_dense = graph.is_constant(weights) and graph.shape(weights)[_CHANNELS] == graph.shape(source)[_CHANNELS]
    is_clamped = graph.options(maker).fusedActivationFunction != schema().ActivationFunctionType.NONE
    return is_dense and not is_clamped and len(graph.readers[tensor]) == 1 and tensor not in graph.outputs()


def _form(graph: TFLiteGraph, conv: int) -> tuple[int, ...]:
    """Return what two convolutions must have in common."""
    options, (source, weights, *_) = graph.options(conv), graph.operands[conv]
    steps = (options.strideH, options.strideW, options.dilationHFactor, options.dilationWFactor, options.padding)
    return (*steps, *graph.shape(source)[:_CHANNELS], *graph.shape(weights)[:_CHANNELS])


def _join(graph: TFLiteGraph, number: int, parts: list[int]) -> tuple[int, list[Any]]:
    """Return the concatenation's tensor, and the ops that take the place of an addition of two convolutions."""
    model, result = graph.model, graph.results[number][0]
    maps = [graph.operands[part][0] for part in parts]
    weights = [_values(graph, graph.operands[part][1]) for part in parts]
    shape = [*graph.shape(maps[0])[:_CHANNELS], sum(graph.shape(each)[_CHANNELS] for each in maps)]
    joined = add_tensor(model, f"{graph.name(result)}_joined", "FLOAT32", shape)
    concatenation = new_op(model, "CONCATENATION", maps, joined)
    concatenation.builtinOptions.axis = _CHANNELS
    bias = sum((_bias(graph, part) for part in parts), np.zeros(len(weights[0]), np.float32))
    constants = [
        add_constant(model, np.concatenate(weights, _CHANNELS), "joined_weights"),
        add_constant(model, bias, "joined_bias"),
    ]
    conv = deepcopy(model.subgraphs[0].operators[parts[0]])
    conv.builtinOptions.fusedActivationFunction = graph.options(number).fusedActivationFunction
    conv.inputs, conv.outputs = np.array([joined, *constants], np.int32), np.array([result], np.int32)
    return joined, [concatenation, conv]


def _bias(graph: TFLiteGraph, conv: int) -> NDArray[np.float32]:
    taken = graph.operands[conv]
    return _values(graph, taken[2]) if len(taken) > 2 and taken[2] >= 0 else np.zeros(1, np.float32)


def _values(graph: TFLiteGraph, tensor: int) -> NDArray[np.float32]:
    values = constant(graph.model, graph.tensors[tensor])
    assert values is not None
    return values


def _together(parts: list[Seen]) -> Seen:
    """Return what a concatenation of two maps held."""
    first, second = parts
    return Seen(
        [*map(min, first.lows, second.lows)],
        [*map(max, first.highs, second.highs)],
        {run: np.concatenate([values, second.samples[run]]) for run, values in first.samples.items()},
    )
