#!/usr/bin/env bash
# onnx2tf 1.29.24 does not look at how a Resize counts its coordinates from opset 18 on, and writes a wrong file.
#
# ONNX's Resize says by `coordinate_transformation_mode` which place of the small map a place of the large one is: torch
# writes `asymmetric` for nearest upsampling and `align_corners` where it is asked for that. Up to opset 17 onnx2tf takes
# both as they are. From 18 on it calls tf.image.resize, which knows half pixels alone, exits with 0, and says nothing.
#
# Seen on 2026-11-29 with onnx2tf 1.29.24, TensorFlow 2.19.0, onnx 1.19.1, ai-edge-litert 2.1.0, onnxruntime 1.23.0: of
# (1, 1, 3, 3) to (1, 1, 7, 7) opset 17 is right in all three modes, opset 18 in half_pixel alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx2tf==1.29.24 tensorflow==2.19.0 tf_keras==2.19.0 onnx==1.19.1 \
    onnxruntime==1.23.0 onnxsim==0.4.36 ai-edge-litert==2.1.0 numpy==1.26.4
cd "$folder"
PATH="$folder/venv/bin:$PATH" TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
import subprocess
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper

print({name: version(name) for name in ("onnx2tf", "tensorflow", "onnx", "ai-edge-litert", "onnxruntime")})


def distance(opset, mode, coordinates):
    """Return the relative L2 distance of the TFLite file's output from ONNX Runtime's."""
    node = helper.make_node(
        "Resize", ["x", "", "", "sizes"], ["y"], mode=mode, coordinate_transformation_mode=coordinates, nearest_mode="floor"
    )
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, n, n]) for name, n in (("x", 3), ("y", 7)))
    graph = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(np.array([1, 1, 7, 7]), "sizes")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "model.onnx")
    subprocess.run(["onnx2tf", "-i", "model.onnx", "-o", "out", "-n"], check=True, capture_output=True)
    given = np.random.default_rng(1).standard_normal((1, 1, 3, 3)).astype(np.float32)
    wanted = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"]).run(None, {"x": given})[0]
    interpreter = Interpreter("out/model_float32.tflite")
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], given.reshape(1, 3, 3, 1))
    interpreter.invoke()
    made = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).reshape(1, 1, 7, 7)
    return float(np.linalg.norm(made - wanted) / np.linalg.norm(wanted))


for mode, coordinates in (("nearest", "asymmetric"), ("linear", "align_corners"), ("linear", "half_pixel")):
    for opset in (17, 18):
        found = distance(opset, mode, coordinates)
        print(f"opset {opset}, {mode}, {coordinates}: relative L2 {found:.2g}")
        is_wrong = opset == 18 and coordinates != "half_pixel"
        assert (found > 0.1) if is_wrong else (found < 1e-5), found
print("as described")
PYTHON
