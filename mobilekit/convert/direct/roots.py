"""Reciprocals of square roots as TFLite's RSQRT.

onnx2tf's direct writer makes a normalization of SQRT and of DIV, which divides 1 by it. In int8 the root of a small
variance becomes 0, and LiteRT refuses to divide by that. As a division it would also be what `division` leaves in
float, which is not meant. RSQRT is what TensorFlow Lite's converter makes of the same.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from mobilekit.artifacts.tflite import code_of, constant, kinds, pack, schema, unpack


def with_reciprocal_roots(content: bytes) -> bytes:
    """Return a float32 file with each 1 / SQRT as RSQRT; values differ by their rounding.

    Args:
        content: The file, with one graph.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    found = kinds(model)
    roots = {int(op.outputs[0]): op for op in graph.operators if found[op.opcodeIndex] == "SQRT"}
    readers = Counter(int(taken) for op in graph.operators for taken in op.inputs)
    readers.update(map(int, graph.outputs))
    for op in list(graph.operators):
        if found[op.opcodeIndex] != "DIV" or op.builtinOptions.fusedActivationFunction:
            continue
        one, root = map(int, op.inputs)
        values = constant(model, graph.tensors[one])
        shapes = [list(graph.tensors[number].shape) for number in (root, int(op.outputs[0]))]
        is_one = values is not None and bool((values == 1).all())
        if root not in roots or readers[root] != 1 or not is_one or shapes[0] != shapes[1]:
            continue
        op.opcodeIndex, op.inputs = code_of(model, "RSQRT"), np.array(roots[root].inputs, np.int32)
        op.builtinOptionsType, op.builtinOptions = schema().BuiltinOptions.NONE, None
        graph.operators.remove(roots[root])
    return pack(model)
