"""Tensors that onnx2tf's direct writer leaves without an op that makes them.

Its passes over orders of axes take out a TRANSPOSE of which something else still reads the result: a graph output of
which another output is the transposition, or a sum in a residual network that is split. What they kept has the same
values in the other order of axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mobilekit.artifacts.tflite import add_constant, constant, new_op, numbers, pack, unpack

_BRIDGE = "_nhwc_bridge"
"""How the writer calls a tensor of which it wanted to keep the result in ONNX's order as well."""
_INPUT = "_input_nhwc"
"""How it calls what a node takes in the other order."""
_TO_NCHW = [0, 3, 1, 2]


def with_lost_tensors(content: bytes, onnx_graph: Any) -> bytes:
    """Return a file in which a TRANSPOSE makes each tensor that is read and not made, where its twin is known.

    Args:
        content: The file, with one graph.
        onnx_graph: The GraphProto that it was made of; its tensors have the same names.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    makers = {int(made): op for op in graph.operators for made in op.outputs}
    read = {int(one) for op in graph.operators for one in op.inputs if int(one) >= 0} | {*map(int, graph.outputs)}
    given = {*map(int, graph.inputs)}
    lost = [
        one for one in read - given - makers.keys() if constant(model, graph.tensors[one]) is None and _size(graph, one)
    ]
    places = {(tensor.name or b"").decode(): number for number, tensor in enumerate(graph.tensors)}
    for number in lost:
        for name, order in _twins((graph.tensors[number].name or b"").decode(), onnx_graph):
            twin = places.get(name)
            if twin in makers and _fits(graph, twin, order, number) and not _is_made_of(twin, number, makers):
                op = _transpose(model, twin, order, number)
                graph.operators.insert(graph.operators.index(makers[twin]) + 1, op)
                break
    return pack(model) if lost else content


def _size(graph: Any, number: int) -> int:
    return int(np.prod(numbers(graph.tensors[number].shape), dtype=np.int64))


def _twins(name: str, onnx_graph: Any) -> list[tuple[str, list[int]]]:
    """Return the names that a tensor's twin may have, each with the order of axes that leads back."""
    found = [(f"{name}{_BRIDGE}", _TO_NCHW)]
    for node in onnx_graph.node:
        if node.input and node.input[0] == name:
            found.append((f"{node.name}{_INPUT}", _TO_NCHW))
        if node.op_type == "Transpose" and node.input[0] == name:
            order = next(list(attribute.ints) for attribute in node.attribute if attribute.name == "perm")
            found.append((node.output[0], [int(axis) for axis in np.argsort(order)]))
    return found


def _fits(graph: Any, twin: int, order: list[int], number: int) -> bool:
    shape, wanted = (numbers(graph.tensors[one].shape) for one in (twin, number))
    return len(shape) == len(order) and [shape[axis] for axis in order] == wanted


def _is_made_of(made: int, source: int, makers: dict[int, Any]) -> bool:
    """Return whether a tensor is computed of another one."""
    seen, waiting = set[int](), [made]
    while waiting:
        number = waiting.pop()
        if number in makers and number not in seen:
            seen.add(number)
            waiting += [int(one) for one in makers[number].inputs]
        elif number == source:
            return True
    return False


def _transpose(model: Any, source: int, order: list[int], made: int) -> Any:
    """Return a TRANSPOSE, its order added to the constants."""
    return new_op(model, "TRANSPOSE", [source, add_constant(model, np.array(order, np.int32), "order")], made)
