#!/usr/bin/env bash
# LiteRT 2.1.2 multiplies int8 matrices as if the second one's zero point were 0, and most results are others.
#
# TensorFlow Lite's 8-bit quantization specification says that a real value is (int8 - zero point) x scale, and that an
# activation's zero point may be any of -128 to 127. Attention multiplies two activations. XNNPACK, which LiteRT hands
# a BATCH_MATMUL of int8 by default, overlooks the second zero point; LiteRT's own kernel does not. Nothing is raised.
# LiteRT 2.1.3 no longer hands it to XNNPACK, and is right.
#
# Seen on 2026-11-29 on x86-64, (1, 2, 8, 16) times (1, 2, 16, 8): with zero points of 5 and -7, 52 % of 2.1.2's results
# are off, by up to 23 and 37 steps, and all are those of a zero point of 0. 2.1.3 is right in all, and so is 2.1.2
# without delegates. 2.0.2, 2.0.3 and 2.1.0 are wrong too; 1.4.0, 2.1.4 to 2.1.6, 2.2.0 and 2.3.0 are right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/show.py" <<'PYTHON'
import sys
from importlib.metadata import version

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

LEFT, RIGHT, PRODUCT = (1, 2, 8, 16), (1, 2, 16, 8), (1, 2, 8, 8)
SCALES = 0.02, 0.03, 0.08
ZERO, PRODUCT_ZERO = 3, -4  # of the first matrix and of the product


def write(second_zero):
    """Return a TFLite file of one BATCH_MATMUL of two int8 inputs."""
    model, graph, op, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    model.version, model.buffers, model.subgraphs, model.operatorCodes = 3, [schema.BufferT()], [graph], [code]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.BATCH_MATMUL
    code.version = 2
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [op], [0, 1], [2]
    for shape, scale, zero in zip((LEFT, RIGHT, PRODUCT), SCALES, (ZERO, second_zero, PRODUCT_ZERO)):
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.quantization = shape, schema.TensorType.INT8, schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [zero]
        graph.tensors.append(tensor)
    op.inputs, op.outputs = [0, 1], [2]
    op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.BatchMatMulOptions, schema.BatchMatMulOptionsT()
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run(content, left, right, resolver):
    """Return what LiteRT makes of two matrices."""
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), (left, right)):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).astype(int)


def product(left, right, second_zero):
    """Return the product by the specification's formula, in float64."""
    real = (left.astype(float) - ZERO) @ (right.astype(float) - second_zero) * SCALES[0] * SCALES[1]
    return np.clip(np.round(real / SCALES[2]) + PRODUCT_ZERO, -128, 127)


release = version("ai-edge-litert")
draw = np.random.default_rng(0)
for zero in (0, 5, -7):
    left, right = (draw.integers(-128, 128, shape, dtype=np.int8) for shape in (LEFT, RIGHT))
    defined, without = product(left, right, zero), product(left, right, 0)
    own = run(write(zero), left, right, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    given = run(write(zero), left, right, OpResolverType.AUTO)
    off = np.abs(given - defined)
    print(f"{release}, zero point {zero}: {(off > 0).mean():.0%} of results are off, by up to {off.max():.0f} steps")
    assert (own == defined).all()
    is_wrong = release == "2.1.2" and zero != 0
    assert (given == (without if is_wrong else defined)).all()
    assert (off.max() > 20) == is_wrong
PYTHON
for release in 2.1.2 2.1.3; do
    python3.11 -m venv "$folder/$release"
    "$folder/$release/bin/pip" install --quiet ai-edge-litert==$release flatbuffers==25.12.19 numpy==2.2.6
    "$folder/$release/bin/python" "$folder/show.py"
done
echo "as described"
