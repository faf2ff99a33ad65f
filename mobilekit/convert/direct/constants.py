"""Equal constants as one: onnx2tf's direct writer writes one for each op that takes it, TensorFlow's converter one."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from mobilekit.artifacts.tflite import constant, numbers


def share_constants(model: Any) -> None:
    """Let all ops of a float32 model that take equal constants take the first of them, in place."""
    graph = model.subgraphs[0]
    first: dict[tuple[Any, ...], int] = {}
    taken = {number for op in graph.operators for number in numbers(op.inputs) if number >= 0}
    shared = {}
    for number in sorted(taken):
        tensor = graph.tensors[number]
        values = constant(model, tensor)
        if values is not None:
            key = (tensor.type, *numbers(tensor.shape), hashlib.sha256(values.tobytes()).digest())
            shared[number] = first.setdefault(key, number)
    for op in graph.operators:
        op.inputs = np.array([shared.get(number, number) for number in numbers(op.inputs)], np.int32)
