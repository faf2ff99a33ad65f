#!/usr/bin/env bash
# onnxruntime-qnn 2.7.0 computes Sigmoid in float16 by an approximation: up to 7.9e-4 off, where rounding is 2.4e-4.
#
# The error is about as large everywhere: at -3 it is 3 % of the value, below -6 up to 46 %. Tanh is right to rounding, and
# tanh(x / 2) / 2 + 1 / 2 is at most 3.7e-4 off. It is Qualcomm's HTP library for x86-64, which compiles for phones; on a
# phone it was not tried.
#
# Seen on 2026-11-29 with ONNX Runtime 1.32.0 on x86-64, soc_model 57 (SM8650). GhostNetV2, with 14 sigmoids in its
# attention, is 1.17e-2 off there on four photos, and 8.5e-3 with Tanh in their place.
#
# The package is under Qualcomm's license; glibc 2.35 or newer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2
"$folder/venv/bin/pip" install --quiet --no-deps onnxruntime-qnn==2.7.0
cd "$folder"
"$folder/venv/bin/python" - 2>"$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxruntime_qnn
from onnx import TensorProto, helper

print({name: version(name) for name in ("onnxruntime", "onnxruntime-qnn", "onnx")})
X = np.linspace(-8, 8, 4097).astype(np.float16).astype(np.float32)[None]
NAME = onnxruntime_qnn.get_ep_name()
onnxruntime.register_execution_provider_library(NAME, onnxruntime_qnn.get_library_path())
DEVICES = [device for device in onnxruntime.get_ep_devices() if device.ep_name == NAME][:1]


def run(*nodes):
    """Return what the NPU's library gives for a graph from x to y, which it takes whole."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, X.shape) for name in "xy"]
    half = helper.make_tensor("half", TensorProto.FLOAT, [], [0.5])
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], [half])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    backend = str(Path(onnxruntime_qnn.LIB_DIR_FULL_PATH, "libQnnHtp.so"))
    settings = {"backend_path": backend, "enable_htp_fp16_precision": "1", "soc_model": "57", "htp_arch": "75"}
    options.add_provider_for_devices(DEVICES, settings)
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": X})[0]


node = helper.make_node
by_tanh = (
    node("Mul", ["x", "half"], ["a"]),
    node("Tanh", ["a"], ["b"]),
    node("Mul", ["b", "half"], ["c"]),
    node("Add", ["c", "half"], ["y"]),
)
right = 1 / (1 + np.exp(-X.astype(np.float64)))
off = {}
for name, nodes in (("Sigmoid", (node("Sigmoid", ["x"], ["y"]),)), ("by Tanh", by_tanh)):
    error = np.abs(run(*nodes) - right)
    off[name] = float(error.max())
    small = float((error / right)[X < -6].max())
    print(f"{name}: at most {off[name]:.1e} off, and below -6 by {small:.0%} of the value")
rounding = float(np.abs(right.astype(np.float16) - right).max())
print(f"rounding to float16: at most {rounding:.1e}")
assert off["Sigmoid"] > 3 * rounding > off["by Tanh"]
print("as described")
PYTHON
