"""What a TFLite file no longer needs after it was changed."""

from __future__ import annotations

from typing import Any


def drop_unread(model: Any) -> None:
    """Take the values of constants that nothing reads any more out of a model, in place."""
    used = {entry.buffer for entry in model.metadata or []}
    for graph in model.subgraphs:
        read = {int(number) for op in graph.operators for number in (*op.inputs, *op.outputs)}
        read |= {*map(int, graph.inputs), *map(int, graph.outputs)}
        for number, tensor in enumerate(graph.tensors):
            tensor.buffer = tensor.buffer if number in read else 0
            used.add(tensor.buffer)
    for number, buffer in enumerate(model.buffers):
        if number not in used:
            buffer.data = None
