"""Some nodes of an ONNX file as a file of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def cut_onnx(model: Any, inputs: Sequence[str], outputs: Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """Return an ONNX file of the nodes between some tensors, with the constants that they read.

    Args:
        model: The whole, an onnx.ModelProto.
        inputs: Names of the tensors that the new file takes, in its order.
        outputs: Names of those that it gives.
        shapes: Shapes of these tensors, and of all that nodes of kind Shape read: their results become constants, as
            what they read may lie outside. A tensor whose type ONNX's own inference does not tell counts as float32.
    """
    import onnx
    from onnx import TensorProto, helper
    from onnx.utils import Extractor

    inferred = onnx.shape_inference.infer_shapes(model)
    _fix_sizes(inferred.graph, shapes)
    graph = inferred.graph
    types = {one.name: one.type.tensor_type.elem_type for one in (*graph.value_info, *graph.input, *graph.output)}
    # The shapes of the run at hand, as a part of a model with free sizes is easier to look into without them.
    kept = [one for one in graph.value_info if one.name not in shapes]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    infos = {
        name: helper.make_tensor_value_info(name, types.get(name) or TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    }
    known = {one.name for one in (*graph.input, *graph.output)}
    graph.value_info.extend(info for name, info in infos.items() if name not in known)
    part = Extractor(inferred).extract_model(list(inputs), list(outputs))
    for values in (part.graph.input, part.graph.output):
        for value in values:
            value.CopyFrom(infos[value.name])
    onnx.checker.check_model(part)
    content: bytes = part.SerializeToString()
    return content


def _fix_sizes(graph: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Put a constant in place of each node that reads a shape which is known."""
    import numpy as np
    from onnx import numpy_helper

    for node in [node for node in graph.node if node.op_type == "Shape" and node.input[0] in shapes]:
        part = {attribute.name: attribute.i for attribute in node.attribute}
        shape = np.array(shapes[node.input[0]][part.get("start") : part.get("end")], np.int64)
        graph.initializer.append(numpy_helper.from_array(shape, node.output[0]))
        graph.node.remove(node)
