"""Inputs that are a picture's bytes, in ONNX and TFLite files: what turns them into the numbers of the network behind.

A network is converted with float32 inputs, which hold 0 to 255. Its files get the bytes last, by a DequantizeLinear or
DEQUANTIZE of scale 1: XNNPACK has none for a CAST, and Qualcomm's library takes one of bytes for one of truth values.
Before an int8 network in TFLite a QUANTIZE follows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.tflite import add_tensor, numbers, pack, type_of, unpack
from mobilekit.convert.requantize import crossing

LARGEST = 255
_OPERATOR = "DequantizeLinear"
_NUMBERS = "_as_numbers"
"""What stands behind the name of the bytes in that of the numbers made of them."""


def give_onnx_bytes(path: Path, names: Collection[str]) -> None:
    """Let an ONNX file take bytes for the float32 inputs of these names.

    Args:
        path: The file, which is written anew.
        names: Of the inputs.
    """
    import onnx

    model = onnx.load(path)
    for value in [each for each in model.graph.input if each.name in names]:
        numbers_name = value.name + _NUMBERS
        for node in model.graph.node:
            node.input[:] = [numbers_name if taken == value.name else taken for taken in node.input]
        constants = [f"{numbers_name}_{each}" for each in ("scale", "zero_point")]
        model.graph.node.insert(
            0,
            onnx.helper.make_node(
                _OPERATOR, [value.name, *constants], [numbers_name], name=f"{value.name}/{_OPERATOR}"
            ),
        )
        for name, one in zip(constants, (np.float32(1), np.uint8(0)), strict=True):
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(one), name))
        value.type.tensor_type.elem_type = onnx.TensorProto.UINT8
    onnx.save(model, path)


def take_onnx_bytes(path: Path) -> list[str]:
    """Take from an ONNX file what `give_onnx_bytes` gave it, and return the names of the inputs that were bytes.

    Args:
        path: The file, which is written anew where there are any.
    """
    import onnx

    model = onnx.load(path)
    found = [each for each in model.graph.input if each.type.tensor_type.elem_type == onnx.TensorProto.UINT8]
    for value in found:
        (first,) = (node for node in model.graph.node if value.name in node.input)
        model.graph.node.remove(first)
        for node in model.graph.node:
            node.input[:] = [value.name if taken == first.output[0] else taken for taken in node.input]
        for one in [each for each in model.graph.initializer if each.name in first.input]:
            model.graph.initializer.remove(one)
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    if found:
        onnx.save(model, path)
    return [value.name for value in found]


def with_bytes(content: bytes, names: Collection[str]) -> bytes:
    """Return a TFLite file that takes bytes for the inputs of these names, which are float32, or int8 of 0 to 255.

    Args:
        content: The file, with one graph and a signature.
        names: Of the inputs, in the signature.
    """
    if not names:
        return content
    model = unpack(content)
    graph = model.subgraphs[0]
    for one in model.signatureDefs[0].inputs:
        if one.name.decode() in names:
            before = int(one.tensorIndex)
            one.tensorIndex = _put_bytes_before(model, before)
            graph.inputs = np.array([one.tensorIndex if it == before else it for it in graph.inputs], np.int32)
    return pack(model)


def _put_bytes_before(model: Any, number: int) -> int:
    """Let a tensor be made of bytes, and return the number of theirs, which takes over its name."""
    tensor = model.subgraphs[0].tensors[number]
    name, shape = (tensor.name or b"").decode(), numbers(tensor.shape)
    made = add_tensor(model, name, "UINT8", shape)
    quantization = model.subgraphs[0].tensors[made].quantization
    quantization.scale, quantization.zeroPoint = np.array([1], np.float32), np.array([0], np.int64)
    tensor.name = (name + _NUMBERS).encode()
    model.subgraphs[0].operators[:0] = crossing(model, made, number)
    return made


def without_bytes(content: bytes) -> tuple[bytes, list[str]]:
    """Return a float TFLite file without what `with_bytes` put before it, and the names of inputs that were bytes."""
    model = unpack(content)
    graph, found = model.subgraphs[0], list[str]()
    for one in model.signatureDefs[0].inputs:
        given = int(one.tensorIndex)
        if type_of(graph.tensors[given]) == "UINT8":
            (op,) = (each for each in graph.operators if given in each.inputs)
            made = int(op.outputs[0])
            graph.operators.remove(op)
            graph.tensors[made].name, graph.tensors[given].name = graph.tensors[given].name, b"unused"
            graph.inputs = np.array([made if it == given else it for it in graph.inputs], np.int32)
            one.tensorIndex = made
            found.append(one.name.decode())
    return (pack(model) if found else content), found


def draw_inputs(shapes: Mapping[str, Sequence[int]], pixels: Iterable[str] = ()) -> dict[str, NDArray[np.float32]]:
    """Return seeded random inputs to compare a file on, float32 by name: standard normal, or 0 to 255 of `pixels`."""
    draw = np.random.default_rng(0)
    arrays = {name: draw.standard_normal(tuple(shape), dtype=np.float32) for name, shape in shapes.items()}
    return arrays | {name: draw.integers(0, LARGEST + 1, shapes[name]).astype(np.float32) for name in pixels}
