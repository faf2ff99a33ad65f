#!/usr/bin/env bash
# onnx2tf 2.6.9's direct writer flattens a map that was sliced along its height or width in the wrong order.
#
# ONNX's Flatten reads (N, C, H, W) with the channels first. The writer keeps maps in TFLite's order, channels last, and
# puts a TRANSPOSE before the RESHAPE that a Flatten becomes. Behind a Slice of rows or of columns it leaves that out,
# exits with 0 and says nothing: the layer that follows meets the right numbers in another order. It is right without
# the Slice, and where the Slice takes channels. The direct writer is what `onnx2tf` runs by default since version 2.
#
# Seen on 2026-11-29 with onnx2tf 2.6.9, ai-edge-litert 2.1.2, onnxruntime 1.26.0: of a map (1, 5, 7, 16), relative L2
# of the result 0.55 with 3 rows, 1.3 with 2 columns, and below 2e-7 with 2 channels or the whole map.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.12 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx2tf==2.6.9
cd "$folder"
PATH="$folder/venv/bin:$PATH" "$folder/venv/bin/python" - <<'PYTHON'
import subprocess
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper

print({name: version(name) for name in ("onnx2tf", "onnx", "ai-edge-litert", "onnxruntime")})
SHAPE = (1, 5, 7, 16)


def distance(axis, count):
    """Return the relative L2 distance of the TFLite file's result from ONNX Runtime's; axis 0 takes the whole map."""
    draw = np.random.default_rng(0)
    length = int(np.prod(SHAPE)) // SHAPE[axis] * count
    constants = {
        "kernels": draw.standard_normal((5, 5, 1, 1)).astype(np.float32),
        "weights": draw.standard_normal((length, 3)).astype(np.float32),
        "bias": np.zeros(3, np.float32),
        "start": np.array([0]),
        "end": np.array([count]),
        "axis": np.array([axis]),
    }
    nodes = [
        helper.make_node("Conv", ["x", "kernels"], ["map"]),
        helper.make_node("Slice", ["map", "start", "end", "axis"], ["part"]),
        helper.make_node("Flatten", ["part"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 3))
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "model.onnx")
    given = draw.standard_normal(SHAPE).astype(np.float32)
    wanted = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"]).run(None, {"x": given})[0]
    subprocess.run(["onnx2tf", "-i", "model.onnx", "-o", "out", "-n"], check=True, capture_output=True)
    interpreter = Interpreter("out/model_float32.tflite")
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], given.transpose(0, 2, 3, 1))
    interpreter.invoke()
    made = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return float(np.linalg.norm(made - wanted) / np.linalg.norm(wanted))


for words, axis, count, is_wrong in [
    ("the whole map", 0, 1, False),
    ("2 channels", 1, 2, False),
    ("3 rows", 2, 3, True),
    ("2 columns", 3, 2, True),
]:
    found = distance(axis, count)
    print(f"{words}: relative L2 {found:.2g}")
    assert (found > 0.1) if is_wrong else (found < 1e-5), found
print("as described")
PYTHON
