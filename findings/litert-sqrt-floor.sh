#!/usr/bin/env bash
# LiteRT 2.3.0's int8 SQRT cuts fractions off where RSQRT, EXP, LOGISTIC and TANH round: half a step too low.
#
# A file gives SQRT a scale and a zero point for its output. What comes out is the floor of the root in these steps, so
# half of all results are a step below the nearest one: with XNNPACK, without it, and in the reference kernels. Where the
# root has few steps, that of a small variance, a step is much: 1.9 of them become 1.
#
# Seen on 2026-11-30 on x86-64, all 256 inputs: SQRT is the floor in all, and the nearest step in half of them; the
# four others are the nearest step in all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ai-edge-litert==2.3.0 flatbuffers==25.12.19 numpy==2.2.6
"$folder/venv/bin/python" - 2>"$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
from importlib.metadata import version

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

print({name: version(name) for name in ("ai-edge-litert", "numpy")})
LOWEST = -128
CASES = (  # an operator and its function, the scales of its input and its output, and the output's zero point
    ("SQRT", np.sqrt, (0.05, 0.015), LOWEST),
    ("SQRT", np.sqrt, (0.0021, 0.003), LOWEST),
    ("RSQRT", lambda x: 1 / np.sqrt(x), (0.05, 0.02), LOWEST),
    ("EXP", np.exp, (0.01, 0.05), LOWEST),
    ("LOGISTIC", lambda x: 1 / (1 + np.exp(-x)), (0.03, 1 / 256), LOWEST),
    ("TANH", np.tanh, (0.01, 1 / 128), 0),
)


def write(kind, scales, zeros, shape):
    """Return a TFLite file of one operator; scales and zero points are of its input and of its output."""
    model, graph, op, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    model.version, model.buffers, model.subgraphs, model.operatorCodes = 3, [schema.BufferT()], [graph], [code]
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
    code.version = 1 if kind in ("SQRT", "RSQRT") else 2
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [op], [0], [1]
    op.inputs, op.outputs = [0], [1]
    for scale, zero in zip(scales, zeros):
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.quantization = shape, schema.TensorType.INT8, schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [zero]
        graph.tensors.append(tensor)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def compare(kind, function, scales, zero, resolver):
    """Return the shares of results that are the nearest step, and the one below."""
    x = np.arange(LOWEST + (kind == "RSQRT"), 128, dtype=np.int8)[None]  # without 1 / 0
    content = write(kind, scales, (LOWEST, zero), x.shape)
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    made = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).astype(float)
    exact = function((x.astype(float) - LOWEST) * scales[0]) / scales[1] + zero
    return [float((made == np.clip(wanted, LOWEST, 127)).mean()) for wanted in (np.round(exact), np.floor(exact + 1e-6))]


for name in ("AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "BUILTIN_REF"):
    for kind, function, scales, zero in CASES:
        nearest, floor = compare(kind, function, scales, zero, getattr(OpResolverType, name))
        print(f"{name}, {kind} from steps of {scales[0]:.4f} to {scales[1]:.4f}: {nearest:.1%} nearest, {floor:.1%} floor")
        if kind == "SQRT":
            assert floor > 0.99 and 0.4 < nearest < 0.6
        else:
            assert nearest > 0.98 and floor < 0.7
print("as described")
PYTHON
