"""Equal constants as one: onnx2tf's direct writer writes one for each op that takes it, TensorFlow's converter one.

Weights are not shared with other constants: where those of float16 files are, XNNPACK leaves them and their ops.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from mobilekit.artifacts.tflite import constant, kinds, numbers

_WITH_WEIGHTS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"}


def share_constants(model: Any) -> None:
    """Let all ops of a float32 model that take equal constants take the first of them, in place."""
    graph, found = model.subgraphs[0], kinds(model)
    contents: dict[int, Any] = {}
    first: dict[Any, int] = {}
    for op in graph.operators:
        has_weights, taken = found[op.opcodeIndex] in _WITH_WEIGHTS, numbers(op.inputs)
        for number in taken:
            if number >= 0 and number not in contents:
                contents[number] = _content(model, graph.tensors[number]) or number
        op.inputs = np.array(
            [one if one < 0 else first.setdefault((has_weights, contents[one]), one) for one in taken], np.int32
        )


def _content(model: Any, tensor: Any) -> tuple[Any, ...] | None:
    """Return what tells a constant from others; None for a tensor that is computed."""
    values = constant(model, tensor)
    if values is None:
        return None
    return (tensor.type, *numbers(tensor.shape), hashlib.sha256(values.tobytes()).digest())
