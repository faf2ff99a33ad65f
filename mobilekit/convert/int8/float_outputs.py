"""Outputs that an int8 file gives in float32.

All of an output shares one scale. Where a part of it has so narrow a range that few of the 256 levels are left for it,
as scores of 0 to 1 beside boxes in pixels, the output stays in float, with all that leads to it from the dense layers
before. And what is computed in float as a recipe says is given so.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.output_parts import FEWEST_LEVELS, OF_VALUES, different_values, sorted_parts
from mobilekit.artifacts.tflite import TFLiteGraph, pack, unpack
from mobilekit.convert.int8.calibration import Observed
from mobilekit.convert.int8.roundings import drop_unread, rounded_floats


def unlike_outputs(graph: TFLiteGraph, observed: Observed[int]) -> dict[str, int]:
    """Return the outputs of which a part would have too few of int8's levels: their numbers, by the signature's names.

    Probabilities are none of them: their parts are of one kind, however small.

    Args:
        graph: Of the float32 file.
        observed: What it did on calibration inputs.
    """
    names = dict(zip(graph.outputs(), graph.names()[1], strict=True))
    return {
        names[number]: number
        for number in (observed.outputs[0] if observed.outputs else ())
        if number in graph.makers
        and graph.kinds[graph.makers[number]] != "SOFTMAX"
        and is_unlike(np.concatenate([run[number] for run in observed.outputs]))
    }


def kept_outputs(graph: TFLiteGraph, kept: Collection[str]) -> list[str]:
    """Return the outputs that an op in float makes, by the signature's names.

    Probabilities are none of them: 256 levels from 0 to 1 are what those who take int8 expect.

    Args:
        graph: Of the float32 file.
        kept: Names of the tensors that stay in float.
    """
    names = graph.names()[1]
    return [
        names[place]
        for place, number in graph.own_outputs().items()
        if graph.name(number) in kept and graph.kinds[graph.makers[number]] != "SOFTMAX"
    ]


def with_float_outputs(content: bytes, names: Collection[str]) -> bytes:
    """Return an int8 file that gives these outputs as the float32 that the quantizer has rounded last.

    Args:
        content: The file, with one graph and a signature.
        names: Of outputs, in the signature, that the ops before leave in float.
    """
    if not names:
        return content
    model = unpack(content)
    graph, outputs = model.subgraphs[0], model.signatureDefs[0].outputs
    before = rounded_floats(model)
    for number in {int(one.tensorIndex) for one in outputs if one.name.decode() in names} & before.keys():
        source, tensors = before[number], graph.tensors
        tensors[source].name, tensors[number].name = tensors[number].name, tensors[source].name
        graph.outputs = np.array([source if it == number else it for it in graph.outputs], np.int32)
        for one in outputs:
            one.tensorIndex = source if int(one.tensorIndex) == number else one.tensorIndex
    drop_unread(model)
    return pack(model)


def is_unlike(values: NDArray[np.float32]) -> bool:
    """Return whether a part along the channels, or along the second axis, has too few levels; (N, ...)."""
    step = float(values.max() - values.min()) / 255
    for axis in {1, values.ndim - 1} if values.ndim > 2 else ():
        parts = sorted_parts(values, axis)
        levels = (parts[:, -1] - parts[:, 0]) / (step or 1)
        if ((levels < FEWEST_LEVELS) & (different_values(parts) >= OF_VALUES)).any():
            return True
    return False
