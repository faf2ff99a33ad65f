#!/usr/bin/env bash
# onnx2tf 1.29.24 writes a wrong file, without a word, where a Transpose swaps two of several axes of equal length.
#
# Attention splits its channels into heads, as many as there are tokens in some networks: (1, 16, 16 x 16) becomes
# (1, 16, 16, 16), and tokens and heads change places. onnx2tf tells by lengths which axis a tensor's axis has become,
# and three equal ones are told apart by nothing. It exits with 0, and the file's values are others; its own
# comparison with ONNX is made axis by axis too. With 8 values a head instead of 16 the file is right.
#
# Seen on 2026-11-29 with onnx2tf 1.29.24, TensorFlow 2.19.0, onnx 1.19.1, ai-edge-litert 2.1.0, onnxruntime 1.23.0:
# relative L2 of the outputs 1.26 for 4 x 4 x 4, 1.43 for 16 x 16 x 16, and 0 for 4 x 4 x 8, 16 x 16 x 8 and 6 x 4 x 4.
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
from onnx import TensorProto, helper

print({name: version(name) for name in ("onnx2tf", "tensorflow", "onnx", "ai-edge-litert", "onnxruntime")})


def write(tokens, heads, width):
    """Write a model that splits (1, tokens, heads x width), puts the heads first, and multiplies each by a matrix."""
    weight = np.random.default_rng(0).standard_normal((width, width)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["x", "shape"], ["split"]),
            helper.make_node("Transpose", ["split"], ["swapped"], perm=[0, 2, 1, 3]),
            helper.make_node("MatMul", ["swapped", "w"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, tokens, heads * width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, heads, tokens, width])],
        [onnx.numpy_helper.from_array(np.array([1, tokens, heads, width]), "shape"), onnx.numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "model.onnx")


def distance(tokens, heads, width):
    """Return the relative L2 distance of the TFLite file's outputs from ONNX Runtime's."""
    write(tokens, heads, width)
    command = ["onnx2tf", "-i", "model.onnx", "-o", "out", "-kat", "x", "-n"]
    subprocess.run(command, check=True, capture_output=True)
    x = np.random.default_rng(1).standard_normal((1, tokens, heads * width)).astype(np.float32)
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    wanted = session.run(None, {"x": x})[0]
    interpreter = Interpreter("out/model_float32.tflite")
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    given = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert given.shape == wanted.shape
    return float(np.linalg.norm(given - wanted) / np.linalg.norm(wanted))


for shape, is_wrong in {(4, 4, 4): True, (16, 16, 16): True, (4, 4, 8): False, (16, 16, 8): False, (6, 4, 4): False}.items():
    found = distance(*shape)
    print(f"tokens, heads, width {shape}: relative L2 {found:.2g}")
    assert (found > 1) if is_wrong else (found < 1e-5), (shape, found)
print("as described")
PYTHON
