"""Shapes that onnx2tf's direct writer says are unknown, though none is.

It gives tensors a signature of the shape in which the batch is -1, and SLICEs sizes of -1. LiteRT finds the same
shapes; XNNPACK leaves a SLICE whose sizes are not known, and with it the graph falls into parts.
"""

from __future__ import annotations

import numpy as np

from mobilekit.artifacts.tflite import add_constant, constant, kinds, numbers, pack, unpack


def with_known_shapes(content: bytes) -> bytes:
    """Return a file without signatures of shapes, and SLICEs with their sizes; what it computes is the same.

    Args:
        content: The file, with one graph whose tensors have their shapes.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    found = kinds(model)
    for tensor in graph.tensors:
        tensor.shapeSignature = None
    for op in graph.operators:
        if found[op.opcodeIndex] != "SLICE":
            continue
        x, start, sizes = map(int, op.inputs)
        values = constant(model, graph.tensors[sizes])
        if values is not None and (values < 0).any():
            shape = np.array(numbers(graph.tensors[int(op.outputs[0])].shape), values.dtype)
            op.inputs = np.array([x, start, add_constant(model, shape)], np.int32)
    return pack(model)
