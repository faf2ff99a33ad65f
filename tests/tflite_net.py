"""TFLite graphs written op by op, of any shapes, for tests of what is done to graphs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.tflite import TFLiteGraph, add_constant, add_tensor, pack, schema

Floats = NDArray[np.float32]
TO_NCHW, TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


def normal(*shape: int) -> Floats:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


class Net:
    """A TFLite graph under construction."""

    def __init__(self) -> None:
        s = schema()
        self.model = s.ModelT()
        self.model.version, self.model.operatorCodes, self.model.buffers = 3, [], [s.BufferT()]
        self.graph = s.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(self, name: str, shape: list[int]) -> int:
        return add_tensor(self.model, name, "FLOAT32", shape)

    def constant(self, values: NDArray[Any]) -> int:
        return add_constant(self.model, values)

    def op(self, kind: str, inputs: list[int], made: int, options: str = "", **fields: Any) -> int:
        s = schema()
        code = s.OperatorCodeT()
        code.builtinCode = getattr(s.BuiltinOperator, kind)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = 1
        self.model.operatorCodes.append(code)
        op = s.OperatorT()
        op.opcodeIndex = len(self.model.operatorCodes) - 1
        op.inputs, op.outputs = np.array(inputs, np.int32), np.array([made], np.int32)
        if options:
            op.builtinOptionsType = getattr(s.BuiltinOptions, options)
            op.builtinOptions = getattr(s, f"{options}T")()
            for name, value in fields.items():
                setattr(op.builtinOptions, name, value)
        self.graph.operators.append(op)
        return made

    def transposed(self, source: int, order: list[int], shape: list[int], name: str) -> int:
        made = self.tensor(name, shape)
        return self.op("TRANSPOSE", [source, self.constant(np.array(order, np.int32))], made, "TransposeOptions")

    def content(self, taken: int, *made: int) -> bytes:
        self.graph.inputs, self.graph.outputs = np.array([taken], np.int32), np.array(made, np.int32)
        return pack(self.model)


def results(content: bytes, x: Floats) -> list[Floats]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]


def counts(content: bytes) -> Counter[str]:
    return Counter(TFLiteGraph(content).kinds)
