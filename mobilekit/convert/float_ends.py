"""int8 files whose inputs and outputs are float32, for apps and runtimes that pass floats."""

from __future__ import annotations

from typing import Any

import numpy as np

from mobilekit.artifacts.tflite import add_tensor, new_op, numbers, pack, type_of, unpack

_INSIDE = "_as_int8"
"""What stands behind a name in that of the int8 tensor that an input or output was."""


def with_float_ends(content: bytes) -> bytes:
    """Return an int8 file that takes and gives float32: a QUANTIZE first, a DEQUANTIZE last.

    Inputs and outputs that are float32 already, or labels, stay as they are.

    Args:
        content: The file, with one graph and a signature.
    """
    model = unpack(content)
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    made: dict[int, int] = {}
    for number in dict.fromkeys((*map(int, graph.inputs), *map(int, graph.outputs))):
        if type_of(graph.tensors[number]) == "INT8":
            made[number] = _float_in_its_place(model, number)
    for number in {int(one) for one in graph.inputs} & made.keys():
        graph.operators.insert(0, new_op(model, "QUANTIZE", [made[number]], number))
    for number in {int(one) for one in graph.outputs} & made.keys():
        graph.operators.append(new_op(model, "DEQUANTIZE", [number], made[number]))
    graph.inputs, graph.outputs = (
        np.array([made.get(int(one), int(one)) for one in ends], np.int32) for ends in (graph.inputs, graph.outputs)
    )
    for entry in (*signature.inputs, *signature.outputs):
        entry.tensorIndex = made.get(int(entry.tensorIndex), int(entry.tensorIndex))
    return pack(model)


def _float_in_its_place(model: Any, number: int) -> int:
    """Add a float32 tensor that takes over another one's name, and return its number."""
    tensor = model.subgraphs[0].tensors[number]
    name = (tensor.name or b"").decode()
    tensor.name = (name + _INSIDE).encode()
    return add_tensor(model, name, "FLOAT32", numbers(tensor.shape))
