#!/usr/bin/env bash
# MNN 3.6.1 leaves out the constant operands of a TFLite CONCATENATION.
#
# Its converter takes the file. With the constant last, the session runs without a word and gives a map of the other
# operand's shape; with the constant first it finds "Error for concat size of op" and does not run. LiteRT runs both.
#
# Seen on 2026-11-30 on x86-64: (1, 3, 4, 2) for (1, 4, 4, 2).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet MNN==3.6.1 ai-edge-litert==2.3.0 flatbuffers==25.12.19 numpy==2.4.6
venv/bin/python - 2>log <<'PYTHON' || { cat log; exit 1; }
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import flatbuffers
import MNN
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

print({name: version(name) for name in ("MNN", "ai-edge-litert")})
ROW, MAP, ALL = (1, 1, 4, 2), (1, 3, 4, 2), (1, 4, 4, 2)
CONVERT = "from MNN.tools.mnnconvert import main; main()"


def tensor(name, shape, buffer=0):
    made = schema.TensorT()
    made.name, made.shape, made.type, made.buffer = name, shape, schema.TensorType.FLOAT32, buffer
    return made


def joined(order):
    """Return a file that joins a constant row (0) and its input (1) in this order along the height."""
    model, graph, op = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    code, row, options = schema.OperatorCodeT(), schema.BufferT(), schema.ConcatenationOptionsT()
    row.data = np.frombuffer(np.full(ROW, 2, np.float32).tobytes(), np.uint8)
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONCATENATION
    code.version, options.axis = 1, 1
    op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.ConcatenationOptions, options
    op.inputs, op.outputs = order, [2]
    graph.tensors = [tensor("row", ROW, 1), tensor("x", MAP), tensor("y", ALL)]
    graph.inputs, graph.outputs, graph.operators = [1], [2], [op]
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    model.buffers = [schema.BufferT(), row]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def by_litert(content, image):
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def by_mnn(content, image):
    """Return the output, or None where the session does not run."""
    Path("net.tflite").write_bytes(content)
    words = ["-f", "TFLITE", "--modelFile", "net.tflite", "--MNNModel", "net.mnn"]
    done = subprocess.run([sys.executable, "-c", CONVERT, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    net = MNN.Interpreter("net.mnn")
    session = net.createSession()
    taken, made = net.getSessionInput(session), net.getSessionOutput(session)
    taken.copyFrom(MNN.Tensor(image.shape, MNN.Halide_Type_Float, image, taken.getDimensionType()))
    if net.runSession(session):
        return None
    shape = made.getShape()
    host = MNN.Tensor(shape, MNN.Halide_Type_Float, np.zeros(shape, np.float32), made.getDimensionType())
    made.copyToHostTensor(host)
    return np.array(host.getNumpyData()).reshape(shape)


image = np.random.default_rng(0).normal(size=MAP).astype(np.float32)
row = np.full(ROW, 2, np.float32)
found = {}
for name, order in {"constant first": [0, 1], "constant last": [1, 0]}.items():
    right = np.concatenate([(row, image)[each] for each in order], 1)
    assert np.array_equal(by_litert(joined(order), image), right)
    found[name] = by_mnn(joined(order), image)
    print(f"{name}: {'no output' if found[name] is None else found[name].shape} for {right.shape}")
assert found["constant first"] is None
assert found["constant last"].shape == MAP
PYTHON
