#!/usr/bin/env bash
# litert-quantizer 0.11.0 refuses ranges of one number each at some operators with a constant, and takes them at others.
#
# Its `quantize` takes the minimum and maximum of each tensor, `{tensor_name: tensor QSVs (e.g.,min/max)}` by its
# docstrings, which name no shape. A TFLite file keeps a range as lists of one number, which are arrays (1,), and the
# package's own test of its calibrator loads ranges of that shape. ADD with a constant takes them. MAXIMUM and
# CONCATENATION, where the constant gets its scale from the range, end with a ValueError about ranks of scales that the
# caller has not given. Numbers without a shape work at all three, and so do ranges of the tensor's rank, (1, 1, 1, 1),
# as its own calibration makes them.
#
# Seen on 2026-11-29 with litert-quantizer 0.11.0, ai-edge-litert 2.3.0, on tensors of rank 4: "Ranks of scales (5) and
# zps (5) must be the same as the tensor rank (4)."
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet litert-quantizer==0.11.0 flatbuffers==25.12.19 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from litert_quantizer import quantizer, recipe

print({name: version(name) for name in ("litert-quantizer", "ai-edge-litert")})
SHAPE = (1, 4, 4, 2)
SAYS = "Ranks of scales (5) and zps (5) must be the same as the tensor rank (4)."


def entry(name, number):
    """Return an entry of a signature."""
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name, number
    return made


def write(kind, options, channels):
    """Return a float32 TFLite file of one operator, whose second operand is constant."""
    model, graph, op, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    signature, constant = schema.SignatureDefT(), schema.BufferT()
    constant.data = np.frombuffer(np.linspace(-1, 1, 32, dtype=np.float32).tobytes(), np.uint8)
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    model.buffers, model.signatureDefs = [schema.BufferT(), constant], [signature]
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
    code.version = 1
    graph.tensors = []
    for name, shape, place in ((b"x", SHAPE, 0), (b"constant", SHAPE, 1), (b"y", (*SHAPE[:3], channels), 0)):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, shape, schema.TensorType.FLOAT32, place
        graph.tensors.append(tensor)
    op.inputs, op.outputs, op.builtinOptions = [0, 1], [2], options
    op.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
    graph.operators, graph.inputs, graph.outputs = [op], [0], [2]
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs, signature.outputs = [entry(b"x", 0)], [entry(b"y", 2)]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def said(content, shape):
    """Return what litert-quantizer raises at ranges of a shape; nothing where it does its work."""
    ranges = {name: {"min": np.full(shape, -2.0), "max": np.full(shape, 2.0)} for name in ("x", "y")}
    try:
        quantizer.Quantizer(bytearray(content), recipe.static_wi8_ai8()).quantize(ranges, enable_progress_report=False)
    except ValueError as error:
        return str(error)
    return ""


along_channels = schema.ConcatenationOptionsT()
along_channels.axis = 3
files = {
    "ADD": write("ADD", schema.AddOptionsT(), 2),
    "MAXIMUM": write("MAXIMUM", schema.MaximumMinimumOptionsT(), 2),
    "CONCATENATION": write("CONCATENATION", along_channels, 4),
}
for kind, content in files.items():
    for shape in ((), (1, 1, 1, 1), (1,)):
        found = said(content, shape)
        print(f"{kind}, ranges of shape {shape}: {found or 'quantized'}")
        assert found == (SAYS if shape == (1,) and kind != "ADD" else ""), found
print("as described")
PYTHON
