"""What it takes to make float32 or int8 of a picture's bytes, with each op that can: for docs/recipes.md.

.venv/bin/python -m benchmarks.byte_inputs

The fastest of some hundred runs in turns, of 224 x 224 pixels on one thread, and whether XNNPACK takes the ops.
"""

from __future__ import annotations

import datetime
import platform
import time
from importlib import metadata
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from mobilekit.artifacts.tflite import add_tensor, code_of, pack, schema

SHAPE = (1, 224, 224, 3)
RUNS = 300
WAYS = {
    "float32 by DEQUANTIZE": [("DEQUANTIZE", "FLOAT32")],
    "float32 by CAST": [("CAST", "FLOAT32")],
    "int8 by DEQUANTIZE and QUANTIZE": [("DEQUANTIZE", "FLOAT32"), ("QUANTIZE", "INT8")],
    "int8 by QUANTIZE": [("QUANTIZE", "INT8")],
}


def file_of(ops: list[tuple[str, str]]) -> bytes:
    """Return a TFLite file that takes bytes, with these ops one after another: kind, and what each makes."""
    s, model = schema(), schema().ModelT()
    model.version, model.operatorCodes, model.buffers = 3, [], [s.BufferT()]
    graph = s.SubGraphT()
    graph.tensors, graph.operators = [], []
    model.subgraphs = [graph]
    last = _tensor(model, "UINT8")
    graph.inputs = np.array([last], np.int32)
    for kind, made in ops:
        op = s.OperatorT()
        op.opcodeIndex, options = code_of(model, kind), f"{kind.title()}Options"
        op.builtinOptionsType = getattr(s.BuiltinOptions, options)
        op.builtinOptions = getattr(s, f"{options}T")()
        if kind == "CAST":
            op.builtinOptions.inDataType = s.TensorType.UINT8
            op.builtinOptions.outDataType = s.TensorType.FLOAT32
        following = _tensor(model, made)
        op.inputs, op.outputs = np.array([last], np.int32), np.array([following], np.int32)
        graph.operators.append(op)
        last = following
    graph.outputs = np.array([last], np.int32)
    return pack(model)


def _tensor(model: Any, kind: str) -> int:
    number = add_tensor(model, kind.lower(), kind, SHAPE)
    if kind != "FLOAT32":
        quantization = model.subgraphs[0].tensors[number].quantization
        quantization.scale = np.array([1], np.float32)
        quantization.zeroPoint = np.array([-128 if kind == "INT8" else 0], np.int64)
    return number


def main() -> None:
    """Measure, and print a line for each way."""
    pixels = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    opened = {}
    for name, ops in WAYS.items():
        opened[name] = Interpreter(model_content=file_of(ops), num_threads=1)
        opened[name].allocate_tensors()
        opened[name].set_tensor(0, pixels)
        opened[name].invoke()
    best = dict.fromkeys(opened, float("inf"))
    for _ in range(RUNS):
        for name, interpreter in opened.items():
            start = time.perf_counter()
            interpreter.invoke()
            best[name] = min(best[name], time.perf_counter() - start)
    for name, seconds in best.items():
        kinds = [each["op_name"] for each in opened[name]._get_ops_details()]
        taken = "XNNPACK" if "DELEGATE" in kinds else "TFLite's own kernel"
        print(f"{name}: {1e6 * seconds:.0f} µs, {taken}")
    print(f"{datetime.date.today()}, {platform.machine()}, ai-edge-litert {metadata.version('ai-edge-litert')}")


if __name__ == "__main__":
    main()
