#!/usr/bin/env bash
# onnxruntime-qnn 2.7.0 turns bytes into truth values: a Cast from uint8 to float gives 1 for every byte but 0.
#
# A model that takes a picture's bytes begins with such a Cast. The QNN provider takes the whole graph, nothing falls back
# to ONNX Runtime's own kernels, and nothing is said; what the network gets is black and white. From int32 to float the
# same Cast is right. It is Qualcomm's HTP library for x86-64, which compiles for phones; on a phone it was not tried.
#
# Seen on 2026-11-29 with ONNX Runtime 1.32.0 on x86-64, soc_model 57 (SM8650) and 69 (SM8750): of 0, 5, 10, 15 as uint8
# come 0, 1, 1, 1, and as int32 0, 5, 10, 15, to float16's rounding.
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
SHAPE = (1, 3, 4, 4)
NAME = onnxruntime_qnn.get_ep_name()
onnxruntime.register_execution_provider_library(NAME, onnxruntime_qnn.get_library_path())
DEVICES = [device for device in onnxruntime.get_ep_devices() if device.ep_name == NAME][:1]


def write(kind):
    """Write a model of a Cast to float and a Relu."""
    nodes = [helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT), helper.make_node("Relu", ["f"], ["y"])]
    ends = [helper.make_tensor_value_info("x", kind, SHAPE), helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE)]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "model.onnx")


def run(x, soc, arch):
    """Return what the NPU's library gives, which takes the whole graph."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    backend = Path(onnxruntime_qnn.LIB_DIR_FULL_PATH, "libQnnHtp.so")
    settings = {"backend_path": str(backend), "enable_htp_fp16_precision": "1", "soc_model": soc, "htp_arch": arch}
    options.add_provider_for_devices(DEVICES, settings)
    return onnxruntime.InferenceSession("model.onnx", options).run(None, {"x": x})[0]


values = (5 * np.arange(np.prod(SHAPE))).reshape(SHAPE)
for soc, arch in (("57", "75"), ("69", "79")):
    for kind, numbers in ((TensorProto.UINT8, np.uint8), (TensorProto.INT32, np.int32)):
        write(kind)
        made = run(values.astype(numbers), soc, arch)
        print(f"soc_model {soc}, {np.dtype(numbers).name}: {values.ravel()[:4]} -> {np.round(made.ravel()[:4], 3)}")
        right = values > 0 if numbers is np.uint8 else values
        assert np.allclose(made, right, rtol=1e-3), made
print("as described")
PYTHON
