"""Faults planted in the TFLite files of `faulty_nets`, through the flatbuffer's objects."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray


class Editor:
    """A TFLite file whose first graph is changed in place."""

    def __init__(self, content: bytes) -> None:
        self.model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
        self.graph = self.model.subgraphs[0]
        self.tensors, self.ops = self.graph.tensors, self.graph.operators

    def content(self) -> bytes:
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def find(self, kind: str, number: int = 0) -> Any:
        code = getattr(schema.BuiltinOperator, kind)
        found = [op for op in self.ops if self.model.operatorCodes[op.opcodeIndex].builtinCode == code]
        return found[number]

    def array(self, tensor: int) -> NDArray[Any]:
        types = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.INT32: np.int32}
        one = self.tensors[tensor]
        data = np.asarray(self.model.buffers[one.buffer].data, np.uint8)
        return np.frombuffer(data.tobytes(), types[one.type]).reshape(one.shape).copy()

    def constant(self, like: int, array: NDArray[Any]) -> int:
        """Add a constant of the type of another tensor, and return its number."""
        tensor, buffer = copy.copy(self.tensors[like]), schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        tensor.shape, tensor.buffer, tensor.name = np.array(array.shape, np.int32), len(self.model.buffers), b"planted"
        tensor.shapeSignature = None
        self.model.buffers.append(buffer)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def computed(self, like: int) -> int:
        tensor = copy.copy(self.tensors[like])
        tensor.name = b"planted"
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def op(self, like: str, takes: list[int], makes: int, activation: int = 0) -> Any:
        op = copy.copy(self.find(like))
        op.builtinOptions = copy.copy(op.builtinOptions)
        op.builtinOptions.fusedActivationFunction = activation
        op.inputs, op.outputs = np.array(takes, np.int32), np.array([makes], np.int32)
        return op


def half_pixel_centers(file: Editor) -> None:
    file.find("RESIZE_NEAREST_NEIGHBOR").builtinOptions.halfPixelCenters = True


def hard_sigmoid(file: Editor) -> None:
    swish = file.find("HARD_SWISH")
    place, (taken,), (made,) = file.ops.index(swish), swish.inputs, swish.outputs
    three, sixth = (file.constant(0, np.array([value], np.float32)) for value in (3.0, 1 / 6))
    between = file.computed(int(taken))
    file.ops[place : place + 1] = [
        file.op("ADD", [int(taken), three], between, schema.ActivationFunctionType.RELU6),
        file.op("MUL", [between, sixth], int(made)),
    ]


def inverse_shuffle(file: Editor) -> None:
    apart = file.find("RESHAPE")
    turn = next(op for op in file.ops if int(apart.outputs[0]) in map(int, op.inputs))
    order = file.array(int(turn.inputs[1]))
    one, another = (axis for axis, place in enumerate(order) if axis != place)
    shape = file.array(int(apart.inputs[1]))
    shape[[one, another]] = shape[[another, one]]
    apart.inputs = np.array([apart.inputs[0], file.constant(int(apart.inputs[1]), shape)], np.int32)
    for op in (apart, turn):
        tensor = file.tensors[int(op.outputs[0])]
        tensor.shape = np.array(tensor.shape, np.int32)
        tensor.shape[[one, another]] = tensor.shape[[another, one]]


def norm_folded_forward(file: Editor) -> None:
    scale_op, shift_op, conv = file.find("MUL"), file.find("ADD"), file.find("CONV_2D", 2)
    scale, shift = (file.array(int(op.inputs[1])).ravel() for op in (scale_op, shift_op))
    weights, bias = (file.array(int(tensor)) for tensor in conv.inputs[1:])
    bias += weights.sum((1, 2)) @ shift
    conv.inputs = np.array(
        [
            scale_op.inputs[0],
            file.constant(int(conv.inputs[1]), weights * scale),
            file.constant(int(conv.inputs[2]), bias),
        ],
        np.int32,
    )
    file.ops.remove(scale_op)
    file.ops.remove(shift_op)


def swapped_padding(file: Editor) -> None:
    pad = file.find("PAD", 1)
    swapped = np.ascontiguousarray(file.array(int(pad.inputs[1]))[:, ::-1])
    pad.inputs = np.array([pad.inputs[0], file.constant(int(pad.inputs[1]), swapped)], np.int32)


def scale_of(kind: str, number: int, factor: float) -> Callable[[Editor], None]:
    """Return what multiplies the scale of the tensor that an op makes."""

    def plant(file: Editor) -> None:
        quantization = file.tensors[int(file.find(kind, number).outputs[0])].quantization
        quantization.scale = quantization.scale * np.float32(factor)

    return plant


def weight_scale_of(kind: str, number: int, factor: float) -> Callable[[Editor], None]:
    def plant(file: Editor) -> None:
        quantization = file.tensors[int(file.find(kind, number).inputs[1])].quantization
        quantization.scale = quantization.scale * np.float32(factor)

    return plant


def with_larger_weights(content: bytes, kind: str) -> bytes:
    """Return a float32 file in which the weights of the first op of a kind are a tenth larger."""
    file = Editor(content)
    op = file.find(kind)
    taken, weights, *rest = map(int, op.inputs)
    op.inputs = np.array([taken, file.constant(weights, file.array(weights) * np.float32(1.1)), *rest], np.int32)
    return file.content()


FLOAT_FAULTS: dict[str, tuple[Callable[[Editor], None], list[str]]] = {
    "nearest with half-pixel centers": (half_pixel_centers, ["up"]),
    "hard-swish as hard-sigmoid": (hard_sigmoid, ["act"]),
    "inverse channel shuffle": (inverse_shuffle, ["shuffle"]),
    "batch norm folded forward": (norm_folded_forward, ["norm", "after", "relu"]),
    "swapped pooling padding": (swapped_padding, ["pool"]),
}
"""Each fault, and the modules at fault: what one op of the file does is named together."""
INT8_FAULTS: dict[str, tuple[Callable[[Editor], None], list[str]]] = {
    "a range too narrow": (scale_of("CONV_2D", 4, 1 / 8), ["last", "relu_1"]),
    "a range too wide": (scale_of("CONV_2D", 4, 90.0), ["last", "relu_1"]),
    "a scale of weights": (weight_scale_of("CONV_2D", 3, 2.0), ["down"]),
}


def with_fault(content: bytes, plant: Callable[[Editor], None]) -> bytes:
    """Return a file with a fault planted."""
    file = Editor(content)
    plant(file)
    return file.content()
