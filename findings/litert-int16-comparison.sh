#!/usr/bin/env bash
# LiteRT 2.3.0 compares int16 tensors by their steps alone, whatever their scales: 1 is less than 1.
#
# Of int8 tensors GREATER, GREATER_EQUAL, LESS and LESS_EQUAL rescale both sides first, and so do EQUAL and NOT_EQUAL of
# int16. Of int16 tensors with quantization the four others compare the integers, and nothing is said. A map that is
# compared with a constant, which has a scale of its own, is so cut at another value.
#
# Seen on 2026-12-01 on x86-64: where one side has half of the other's scale, all four are those of the steps in int16,
# and those of the values in int8; the two others are those of the values in both.
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
from ai_edge_litert.interpreter import Interpreter

print({name: version(name) for name in ("ai-edge-litert", "numpy")})
SCALES = (1 / 64, 1 / 128)
STEPS = ([64, 64, 32, 100], [120, 64, 64, 110])  # 1 and .94, 1 and .5, .5 and .5, 1.56 and .86
KINDS = {
    "GREATER": np.greater,
    "GREATER_EQUAL": np.greater_equal,
    "LESS": np.less,
    "LESS_EQUAL": np.less_equal,
    "EQUAL": np.equal,
    "NOT_EQUAL": np.not_equal,
}


def tensor(kind, scale=None):
    made = schema.TensorT()
    made.shape, made.type, made.quantization = [1, 4], getattr(schema.TensorType, kind), schema.QuantizationParametersT()
    if scale:
        made.quantization.scale, made.quantization.zeroPoint = [scale], [0]
    return made


def run(kind, numbers):
    """Return what a file of one comparison says of the steps."""
    model, graph, op, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    model.version, model.buffers, model.subgraphs, model.operatorCodes = 3, [schema.BufferT()], [graph], [code]
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
    code.version = 2
    graph.tensors = [tensor(numbers, SCALES[0]), tensor(numbers, SCALES[1]), tensor("BOOL")]
    graph.operators, graph.inputs, graph.outputs = [op], [0, 1], [2]
    op.inputs, op.outputs = [0, 1], [2]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    interpreter = Interpreter(model_content=bytes(builder.Output()))
    interpreter.allocate_tensors()
    for place, steps in enumerate(STEPS):
        interpreter.set_tensor(place, np.array([steps], numbers.lower()))
    interpreter.invoke()
    return interpreter.get_tensor(2)[0].tolist()


values = [np.array(steps) * scale for steps, scale in zip(STEPS, SCALES)]
seen = {}
for kind, compare in KINDS.items():
    by_value, by_step = compare(*values).tolist(), compare(*map(np.array, STEPS)).tolist()
    assert by_value != by_step, kind
    for numbers in ("INT8", "INT16"):
        found = run(kind, numbers)
        seen[kind, numbers] = "values" if found == by_value else "steps" if found == by_step else found
        print(kind, numbers, "compares", seen[kind, numbers])
by_steps = {(kind, "INT16") for kind in ("GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")}
assert seen == {key: "steps" if key in by_steps else "values" for key in seen}, "this has changed"
print("as described")
PYTHON
