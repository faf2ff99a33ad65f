"""TRANSPOSEs and RESHAPEs of a TFLite graph moved behind what follows them, where two that meet undo each other.

onnx2tf's direct writer leaves some maps in ONNX's order of axes, and activations behind the change of order, where they
are ops of their own. All that is changed here is where values stand: they stay the same to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.tflite import (
    add_constant,
    add_tensor,
    code_of,
    constant,
    kinds,
    numbers,
    pack,
    schema,
    type_of,
    unpack,
)

_UNARY = {
    "RELU",
    "RELU6",
    "RELU_0_TO_1",
    "LOGISTIC",
    "TANH",
    "HARD_SWISH",
    "EXP",
    "SQRT",
    "RSQRT",
    "GELU",
}
_BINARY = {"ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM"}
_REDUCTIONS = {"MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"}
_ACTIVATIONS = {"RELU": 1, "RELU6": 3}
"""Ops that another op can do, and their numbers in the schema's ActivationFunctionType."""


def with_fewer_transposes(content: bytes) -> bytes:
    """Return a float32 file with TRANSPOSEs moved behind the ops that follow, and activations fused, where it gains.

    Args:
        content: The file, with one graph whose shapes are all known.
    """
    tried = []
    for is_shared in (True, False):
        graph = _Graph(unpack(content), is_shared)
        while graph.step():
            graph.drop_dead()
        graph.merge_reshapes()
        graph.fuse_activations()
        tried.append(graph)
    return pack(min(tried, key=lambda graph: graph.count("TRANSPOSE")).model)


class _Graph:
    """A model that is changed op by op.

    Args:
        model: The model.
        is_shared: Move TRANSPOSEs with several readers as well: behind each of them is one then.
    """

    def __init__(self, model: Any, is_shared: bool) -> None:
        self.is_shared = is_shared
        self.model = model
        self.graph = model.subgraphs[0]
        self.tensors = self.graph.tensors
        self.codes: list[str] = kinds(model)
        self.index()

    def index(self) -> None:
        """Find makers and readers anew."""
        self.makers = {int(made): op for op in self.graph.operators for made in op.outputs}
        self.readers: dict[int, list[Any]] = {}
        for op in self.graph.operators:
            for taken in {int(number) for number in op.inputs}:
                self.readers.setdefault(taken, []).append(op)
        self.outputs = set(map(int, self.graph.outputs))

    def kind(self, op: Any) -> str:
        """Return an op's kind."""
        kind: str = self.codes[op.opcodeIndex]
        return kind

    def count(self, kind: str) -> int:
        """Return how many ops are of a kind."""
        return sum(self.kind(op) == kind for op in self.graph.operators)

    def value(self, number: int) -> NDArray[Any] | None:
        """Return what a constant holds."""
        return constant(self.model, self.tensors[number])

    def order(self, number: int) -> tuple[int, ...] | None:
        """Return the order of axes in which a tensor was made by a TRANSPOSE."""
        op = self.makers.get(number)
        if op is None or self.kind(op) != "TRANSPOSE":
            return None
        order = self.value(int(op.inputs[1]))
        return None if order is None else tuple(map(int, order))

    def step(self) -> bool:
        """Move one TRANSPOSE or RESHAPE behind its reader; False where none can be."""
        for op in self.graph.operators:
            if self.kind(op) not in ("TRANSPOSE", "RESHAPE"):
                continue
            made = int(op.outputs[0])
            readers = self.readers.get(made, [])
            if made in self.outputs or (len(readers) != 1 and not (self.is_shared and self.kind(op) == "TRANSPOSE")):
                continue
            for reader in readers:
                if self.kind(op) == "TRANSPOSE" and self._sink(op, reader):
                    self.index()
                    return True
                if self.kind(op) == "RESHAPE" and self.kind(reader) in _ACTIVATIONS:
                    self._behind(op, reader, int(op.inputs[0]))
                    self.index()
                    return True
        return False

    def _sink(self, op: Any, reader: Any) -> bool:
        source, order = int(op.inputs[0]), self.order(int(op.outputs[0]))
        kind = self.kind(reader)
        if order is None:
            return False
        if kind == "TRANSPOSE":
            return self._merge(source, order, reader)
        if kind == "RESHAPE" and self.is_reshape(source, order):
            reader.inputs = np.array([source, *(int(one) for one in reader.inputs[1:])], np.int32)
            return True
        if kind == "BATCH_MATMUL":
            return self._sink_second_factor(op, reader, source, order)
        if kind in _UNARY:
            self._behind(op, reader, source)
            return True
        if kind == "GATHER" and self._is_along_an_axis(reader):
            reader.builtinOptions.axis = order[reader.builtinOptions.axis % len(order)]
            self._behind(op, reader, None)
            reader.inputs = np.array([source, *reader.inputs[1:]], np.int32)
            return True
        if kind in ("SLICE", "PAD"):
            return self._sink_parameters(op, reader, source, order)
        if kind in _REDUCTIONS:
            return self._sink_reduction(op, reader, source, order)
        if kind == "CONCATENATION" or kind in _BINARY:
            return self._sink_several(op, reader, order)
        return False

    def _merge(self, source: int, order: tuple[int, ...], reader: Any) -> bool:
        second = self.order(int(reader.outputs[0]))
        if second is None:
            return False
        both = [order[axis] for axis in second]
        made = int(reader.outputs[0])
        if both == sorted(both):
            if made not in self.outputs:
                self._read_instead(made, source)
            elif source in self.makers and source not in self.outputs:
                maker = self.makers[source]
                maker.outputs = np.array([made if int(one) == source else int(one) for one in maker.outputs], np.int32)
                self._read_instead(source, made)
            else:
                return False
            self.graph.operators.remove(reader)
            return True
        reader.inputs = np.array([source, self.add_constant(np.array(both, np.int32))], np.int32)
        return True

    def _read_instead(self, made: int, source: int) -> None:
        """Let all that reads a tensor read another."""
        for op in self.readers.get(made, []):
            op.inputs = np.array([source if int(one) == made else int(one) for one in op.inputs], np.int32)

    def _is_along_an_axis(self, op: Any) -> bool:
        """Return whether a GATHER takes places in a row along one axis, so that no axis is added or lost."""
        order = self.value(int(op.inputs[1]))
        return order is not None and order.ndim == 1 and not op.builtinOptions.batchDims

    def _sink_parameters(self, op: Any, reader: Any, source: int, order: tuple[int, ...]) -> bool:
        values = [self.value(int(number)) for number in reader.inputs[1:]]
        if any(value is None or len(value) != len(order) for value in values):
            return False
        moved = [self.add_constant(_unordered(value, order)) for value in values if value is not None]
        reader.inputs = np.array([source, *moved], np.int32)
        self._behind(op, reader, None)
        return True

    def _sink_second_factor(self, op: Any, reader: Any, source: int, order: tuple[int, ...]) -> bool:
        """Let a product take its second factor as it was before its last two axes changed places."""
        first, second = (int(number) for number in reader.inputs)
        *others, row, column = range(len(order))
        if order != (*others, column, row) or second != int(op.outputs[0]) or first == second:
            return False
        reader.inputs = np.array([first, source], np.int32)
        reader.builtinOptions.adjY = not reader.builtinOptions.adjY
        return True

    def _sink_reduction(self, op: Any, reader: Any, source: int, order: tuple[int, ...]) -> bool:
        axes = self.value(int(reader.inputs[1]))
        if axes is None:
            return False
        reduced = {int(axis) % len(order) for axis in axes.ravel()}
        rest = [order[axis] for axis in range(len(order)) if axis not in reduced]
        if not reader.builtinOptions.keepDims and rest != sorted(rest):
            return False
        moved = np.array(sorted(order[axis] for axis in reduced), np.int32)
        reader.inputs = np.array([source, self.add_constant(moved)], np.int32)
        if reader.builtinOptions.keepDims:
            self._behind(op, reader, None)
        return True

    def _sink_several(self, op: Any, reader: Any, order: tuple[int, ...]) -> bool:
        """Move the TRANSPOSEs of all computed inputs behind a reader, the constants among them turned."""
        is_binary = self.kind(reader) in _BINARY
        taken = [int(number) for number in reader.inputs]
        values = [self.value(number) for number in taken]
        for number, value in zip(taken, values, strict=True):
            is_turnable = value is not None and (value.ndim == len(order) or value.size == 1)
            is_lone = self.is_shared or len(self.readers[number]) == 1
            is_same = value is None and self.order(number) == order and is_lone and number not in self.outputs
            is_gate = value is None and is_binary and self.is_reshape(number, tuple(np.argsort(order)))
            if not (is_turnable or is_same or is_gate):
                return False
        inputs = []
        for number, value in zip(taken, values, strict=True):
            if value is None and self.order(number) == order:
                inputs.append(int(self.makers[number].inputs[0]))
            elif value is None:
                inputs.append(self._reshaped(number, order, reader))
            elif value.ndim == len(order):
                inputs.append(self.add_constant(np.ascontiguousarray(value.transpose(np.argsort(order)))))
            else:
                inputs.append(number)
        reader.inputs = np.array(inputs, np.int32)
        if self.kind(reader) == "CONCATENATION":
            reader.builtinOptions.axis = order[reader.builtinOptions.axis % len(order)]
        self._behind(op, reader, None)
        return True

    def _behind(self, op: Any, reader: Any, source: int | None) -> None:
        """Let a TRANSPOSE or RESHAPE of a reader's result make what the reader has made."""
        made = int(reader.outputs[0])
        again = schema().OperatorT()
        for field, value in vars(op).items():
            setattr(again, field, value)
        shape = numbers(self.tensors[made].shape)
        if self.kind(op) == "TRANSPOSE":
            order = self.order(int(op.outputs[0]))
            assert order is not None
            inner = [int(size) for size in _unordered(np.array(shape), order)]
        else:
            assert source is not None
            inner = numbers(self.tensors[source].shape)
        if source is not None:
            reader.inputs = np.array([source], np.int32)
        between = self.add_tensor(inner, self.tensors[made])
        reader.outputs = np.array([between], np.int32)
        again.inputs = np.array([between, *(int(number) for number in op.inputs[1:])], np.int32)
        again.outputs = np.array([made], np.int32)
        self.graph.operators.insert(self.graph.operators.index(reader) + 1, again)

    def is_reshape(self, number: int, order: tuple[int, ...]) -> bool:
        """Return whether a change of the order of axes moves axes of length 1 alone."""
        shape = numbers(self.tensors[number].shape)
        moved = [axis for axis in order if shape[axis] > 1]
        return len(shape) == len(order) and moved == sorted(moved)

    def _reshaped(self, number: int, order: tuple[int, ...], reader: Any) -> int:
        """Return a tensor as it was before a change of the order of axes, made by a RESHAPE."""
        shape = [int(size) for size in _unordered(np.array(numbers(self.tensors[number].shape)), order)]
        op = schema().OperatorT()
        op.opcodeIndex = self._code("RESHAPE")
        op.builtinOptionsType, op.builtinOptions = schema().BuiltinOptions.ReshapeOptions, schema().ReshapeOptionsT()
        op.builtinOptions.newShape = np.array(shape, np.int32)
        made = self.add_tensor(shape, self.tensors[number])
        op.inputs = np.array([number, self.add_constant(np.array(shape, np.int32))], np.int32)
        op.outputs = np.array([made], np.int32)
        self.graph.operators.insert(self.graph.operators.index(reader), op)
        return made

    def merge_reshapes(self) -> None:
        """Let a RESHAPE read what the one before it reads, and drop those that change nothing."""
        for op in [op for op in self.graph.operators if self.kind(op) == "RESHAPE"]:
            first = self.makers.get(int(op.inputs[0]))
            while first is not None and self.kind(first) == "RESHAPE":
                op.inputs = np.array([int(first.inputs[0]), *(int(one) for one in op.inputs[1:])], np.int32)
                first = self.makers.get(int(op.inputs[0]))
            source, made = int(op.inputs[0]), int(op.outputs[0])
            if numbers(self.tensors[source].shape) == numbers(self.tensors[made].shape) and made not in self.outputs:
                self._read_instead(made, source)
                self.graph.operators.remove(op)
                self.index()
        self.index()
        self.drop_dead()

    def _code(self, kind: str) -> int:
        number = code_of(self.model, kind)
        self.codes = kinds(self.model)
        return number

    def add_tensor(self, shape: list[int], like: Any) -> int:
        """Add a computed tensor, and return its number."""
        return add_tensor(self.model, f"{(like.name or b'').decode()}_{len(self.tensors)}", type_of(like), shape)

    def add_constant(self, values: NDArray[Any]) -> int:
        """Add a constant, and return its number."""
        return add_constant(self.model, values)

    def drop_dead(self) -> None:
        """Remove ops whose results nothing reads."""
        kept = [
            op
            for op in self.graph.operators
            if any(int(made) in self.outputs or int(made) in self.readers for made in op.outputs)
        ]
        if len(kept) < len(self.graph.operators):
            self.graph.operators = kept
            self.index()
            self.drop_dead()

    def fuse_activations(self) -> None:
        """Let an op do the activation that follows it."""
        for op in list(self.graph.operators):
            if self.kind(op) not in _ACTIVATIONS:
                continue
            taken = int(op.inputs[0])
            maker = self.makers.get(taken)
            if maker is None or taken in self.outputs or len(self.readers[taken]) != 1:
                continue
            if (
                getattr(maker.builtinOptions, "fusedActivationFunction", None) != 0
                or self.kind(maker) == "CONCATENATION"
            ):
                continue
            maker.builtinOptions.fusedActivationFunction = _ACTIVATIONS[self.kind(op)]
            maker.outputs = op.outputs
            self.graph.operators.remove(op)
        self.index()


def _unordered(values: NDArray[Any], order: tuple[int, ...]) -> NDArray[Any]:
    """Return what belongs to axes of a transposed tensor in the axes of the tensor before."""
    moved = np.empty_like(values)
    moved[list(order)] = values
    return moved
