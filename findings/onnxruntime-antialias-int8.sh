#!/usr/bin/env bash
# ONNX Runtime 1.32.0's Resize with antialias gives 0 for what is negative in int8, and turns what is above 127 around.
#
# ONNX's Resize takes int8, and `antialias` from opset 18 on. ONNX Runtime runs such a node and warns of nothing. It bounds
# the result by 0 and 255, as if bytes had no sign, and keeps it as int8: all that is below 0 is 0, and 131, where cubic
# goes beyond the values around it, is -125 and not 127. In uint8 and int32, and in int8 without antialias, it is right to
# one level, measured by onnx's reference evaluator.
#
# Seen on 2026-11-30 on x86-64, at half the height: waves lose all below 0, linear and cubic; edges between
# -128 and 127 are off by 128 (linear) and by 252 (cubic).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper
from onnx.reference import ReferenceEvaluator

print({name: version(name) for name in ("onnxruntime", "onnx", "numpy")})
SIDE = 32
WAVES = np.round(90 * np.sin(np.add.outer(np.arange(SIDE), np.arange(SIDE)) / 5))[None, None]
EDGES = np.where(np.add.outer(np.arange(SIDE) // 8, np.arange(SIDE) // 8) % 2, 127.0, -128.0)[None, None]


def resized(x, mode, antialias):
    """Return x in half its height by ONNX Runtime, and by the reference evaluator."""
    kind, sides = helper.np_dtype_to_tensor_dtype(x.dtype), [1, 1, SIDE // 2, SIDE]
    sizes = helper.make_tensor("sizes", TensorProto.INT64, [4], sides)
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode=mode, antialias=antialias)
    ends = [helper.make_tensor_value_info(name, kind, shape) for name, shape in (("x", x.shape), ("y", sides))]
    graph = helper.make_graph([node], "resize", ends[:1], ends[1:], [sizes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [run(None, {"x": x})[0].astype(float) for run in (session.run, ReferenceEvaluator(model).run)]


for name, picture in (("waves", WAVES), ("edges", EDGES)):
    for mode in ("linear", "cubic"):
        for dtype in (np.uint8, np.int32, np.int8):
            made, right = resized((picture + (128 if dtype == np.uint8 else 0)).astype(dtype), mode, 1)
            off = np.abs(made - right).max()
            seen = f"from {made.min():.0f} to {made.max():.0f} for {right.min():.0f} to {right.max():.0f}"
            print(f"{name}, {mode}, {dtype.__name__}: {seen}, off by {off:.0f}")
            assert (off > 80) if dtype == np.int8 else (off <= 1)
        exact = resized(picture.astype(np.float32), mode, 1)[1]
        as_bytes = np.clip(exact, 0, 255)
        assert np.abs(made - np.where(as_bytes > 127.5, as_bytes - 256, as_bytes)).max() <= 1
    made, right = resized(picture.astype(np.int8), "linear", 0)
    assert np.abs(made - right).max() <= 1
print("as described")
PYTHON
