#!/usr/bin/env bash
# onnx2tf 1.29.24 stops at a ConvTranspose that leaves out `kernel_shape`, which ONNX says is optional.
#
# Without it a kernel has the shape of its weights; torch's present exporter leaves it out, and onnx's checker is
# content. onnx2tf takes the number of axes from the attribute's length: a file that says it is converted, one that does
# not ends with an IndexError and exit code 1. A Conv without it is converted. Version 2.6.9 does the same with
# `-tb tf_converter`, and not with its own writer.
#
# Seen on 2026-11-29 with onnx2tf 1.29.24, TensorFlow 2.19.0, onnx 1.19.1: exit code 0 with the attribute, 1 without.
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
from onnx import TensorProto, helper, numpy_helper

print({name: version(name) for name in ("onnx2tf", "tensorflow", "onnx")})


def converted(kind, shape, **attributes):
    """Return onnx2tf's exit code for a net of one such op, with 2 x 2 kernels at steps of 2."""
    weights = numpy_helper.from_array(np.ones((2, 3, 2, 2) if kind == "ConvTranspose" else (3, 2, 2, 2), np.float32), "w")
    node = helper.make_node(kind, ["x", "w"], ["y"], strides=[2, 2], **attributes)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 6, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    graph = helper.make_graph([node], "g", [x], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "model.onnx")
    done = subprocess.run(["onnx2tf", "-i", "model.onnx", "-o", "out", "-n"], capture_output=True, text=True)
    print(f"{kind} {attributes or 'without kernel_shape'}: exit code {done.returncode}")
    return done.returncode, "IndexError" in done.stdout + done.stderr


assert converted("ConvTranspose", [1, 3, 12, 16], kernel_shape=[2, 2]) == (0, False)
assert converted("Conv", [1, 3, 3, 4]) == (0, False)
assert converted("ConvTranspose", [1, 3, 12, 16]) == (1, True)
print("as described")
PYTHON
