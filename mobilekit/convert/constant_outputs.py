"""Outputs of an ONNX graph that no input reaches, as the anchors of a detector: onnx2tf fails on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.onnx import open_session
from mobilekit.artifacts.tflite import add_constant, pack, schema, unpack


def take_constant_outputs(path: Path, inputs: Mapping[str, list[int]]) -> dict[str, NDArray[Any]]:
    """Take the outputs that are constants out of an ONNX file, and return their values by name.

    Args:
        path: The file, which is written anew where it has such outputs.
        inputs: Shapes of its inputs by name.
    """
    import onnx

    model = onnx.load(path)
    reached = set(inputs)
    for node in model.graph.node:
        if any(name in reached for name in node.input):
            reached.update(node.output)
    names = [output.name for output in model.graph.output if output.name not in reached]
    if not names:
        return {}
    nothing = {name: np.zeros(shape, np.float32) for name, shape in inputs.items()}
    values = open_session(path).run(names, nothing)
    kept = [output for output in model.graph.output if output.name in reached]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    onnx.save(model, path)
    return dict(zip(names, values, strict=True))


def with_constant_outputs(content: bytes, constants: Mapping[str, NDArray[Any]]) -> bytes:
    """Return a TFLite file that gives these values as well, by their names.

    Args:
        content: The file, with one graph and a signature.
        constants: The values by name, in ONNX's order of axes.
    """
    if not constants:
        return content
    model = unpack(content)
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    for name, values in constants.items():
        entry = schema().TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), add_constant(model, values, name)
        signature.outputs.append(entry)
        graph.outputs = np.array([*graph.outputs, entry.tensorIndex], np.int32)
    return pack(model)
