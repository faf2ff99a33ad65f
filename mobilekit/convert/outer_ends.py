"""int8 and int16 files whose inputs and outputs are float32 or uint8, for apps and runtimes that pass these."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from mobilekit.artifacts.tflite import add_tensor, numbers, pack, type_of, unpack
from mobilekit.convert.requantize import crossing

_INSIDE = "_as_int8"
"""What stands behind a name in that of the integer tensor that an input or output was."""
_SHIFT = 128
"""From int8 to uint8, of numbers and zero points."""


def with_outer_ends(content: bytes, io: str, but: Collection[str] = ()) -> bytes:
    """Return an int8 or int16 file that takes and gives float32, or an int8 file that takes and gives uint8.

    What it takes is made integers first, and what it gives of integers last.

    Inputs and outputs that are float32 already, or labels, stay as they are. uint8 has int8's scale and a zero point
    that is 128 more, so that its numbers stand for the same values.

    Args:
        content: The file, with one graph and a signature.
        io: `float32` or `uint8`.
        but: Names of inputs, in the signature, that stay integers.
    """
    model = unpack(content)
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    kept = {int(one.tensorIndex) for one in signature.inputs if one.name.decode() in but}
    made: dict[int, int] = {}
    for number in dict.fromkeys((*map(int, graph.inputs), *map(int, graph.outputs))):
        if type_of(graph.tensors[number]) in ("INT8", "INT16") and number not in kept:
            made[number] = _in_its_place(model, number, io.upper())
    for number in {int(one) for one in graph.inputs} & made.keys():
        graph.operators[:0] = crossing(model, made[number], number)
    for number in {int(one) for one in graph.outputs} & made.keys():
        graph.operators.extend(crossing(model, number, made[number]))
    graph.inputs, graph.outputs = (
        np.array([made.get(int(one), int(one)) for one in ends], np.int32) for ends in (graph.inputs, graph.outputs)
    )
    for entry in (*signature.inputs, *signature.outputs):
        entry.tensorIndex = made.get(int(entry.tensorIndex), int(entry.tensorIndex))
    return pack(model)


def _in_its_place(model: Any, number: int, kind: str) -> int:
    """Add a tensor of a kind that takes over the name and the values of an integer one, and return its number."""
    tensor = model.subgraphs[0].tensors[number]
    name = (tensor.name or b"").decode()
    tensor.name = (name + _INSIDE).encode()
    place = add_tensor(model, name, kind, numbers(tensor.shape))
    if kind == "UINT8":
        quantization, inner = model.subgraphs[0].tensors[place].quantization, tensor.quantization
        quantization.scale, quantization.zeroPoint = inner.scale, np.asarray(inner.zeroPoint) + _SHIFT
    return place
