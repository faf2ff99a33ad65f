#!/usr/bin/env bash
# ONNX Runtime 1.23's nearest Resize to a size takes another row than its definition where the factor is a whole number.
#
# Resize with the mode nearest, asymmetric coordinates, nearest_mode floor, as PyTorch exports F.interpolate, takes for
# output row i the input row floor(i * input / output). From 14 rows to 2 that is 0 and 7. ONNX Runtime multiplies by
# the rounded scale's reciprocal and takes row 6, also where the target is given as `sizes`, which are exact. Factors of
# 5, 6 and 11 come out right, 7 and 13 do not; PyTorch, TensorFlow Lite and ONNX's own reference take row 7. Of the
# factors to 32 it is 7, 13, 14, 15, 26, 28 and 30; the row is floor(i / scale), both in float32, in all of 3422 pairs of
# sizes, so sizes without a whole factor are touched too, such as 21 to 6.
#
# Seen on 2026-11-29 with onnxruntime 1.23.0 on x86-64 (onnx 1.19.1), and in 1.23.2, 1.26.0, 1.29.0 and 1.32.0 just so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.23.0 onnx==1.19.1 numpy==1.26.4
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print({name: version(name) for name in ("onnxruntime", "onnx")})


def rows(before, after):
    """Return which rows ONNX Runtime takes, and which ONNX's reference takes."""
    node = helper.make_node(
        "Resize",
        ["x", "", "", "sizes"],
        ["y"],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, before, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, after, 1])],
        [helper.make_tensor("sizes", TensorProto.INT64, [4], [1, 1, after, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    x = {"x": np.arange(before, dtype=np.float32).reshape(1, 1, before, 1)}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    runs = (session.run(None, x)[0], ReferenceEvaluator(model).run(None, x)[0])
    return [[int(value) for value in run.ravel()] for run in runs]


seen = {(before, after): rows(before, after) for before, after in [(14, 2), (28, 4), (49, 7), (26, 2), (10, 2), (12, 2)]}
for (before, after), (runtime, reference) in seen.items():
    defined = [i * before // after for i in range(after)]
    print(f"{before} to {after}: ONNX Runtime {runtime}, reference {reference}, defined {defined}")
assert seen[14, 2][0] == [0, 6]
assert seen[28, 4][0] == [0, 6, 13, 21]
assert seen[49, 7][0] == [0, 6, 13, 21, 27, 35, 42]
assert seen[26, 2][0] == [0, 12]
assert seen[10, 2][0] == [0, 5]
assert seen[12, 2][0] == [0, 6]
print("as described")
PYTHON
