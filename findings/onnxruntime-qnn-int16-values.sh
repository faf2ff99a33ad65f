#!/usr/bin/env bash
# onnxruntime-qnn 2.7.0 leaves no session for a quantized graph whose values are signed 16-bit numbers: it lays a convolution
# out as it wants it, does not take it, and nothing else runs that form. Unsigned ones are taken.
#
# ONNX Runtime's own quantizer makes such graphs (QDQ) with activation_type QInt16, and calls them valid; its processors run
# them. What a provider does not take should fall back to another one.
#
# Seen on 2026-11-30 with ONNX Runtime 1.32.0 on x86-64, soc_model 57 (SM8650), a depthwise convolution: with QInt16 the
# session ends with "was inserted using the NHWC format as requested by QNNExecutionProvider, but was not selected by that
# EP"; with QUInt16 it is 0.6 % off, as both are on the processor.
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
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

print({name: version(name) for name in ("onnxruntime", "onnxruntime-qnn", "onnx")})
DRAW = np.random.default_rng(0)
INPUTS = [DRAW.standard_normal((1, 8, 12, 12)).astype(np.float32) for _ in range(8)]
NAME = onnxruntime_qnn.get_ep_name()
onnxruntime.register_execution_provider_library(NAME, onnxruntime_qnn.get_library_path())
DEVICES = [device for device in onnxruntime.get_ep_devices() if device.ep_name == NAME][:1]


class Reader(CalibrationDataReader):
    def __init__(self):
        self.rows = iter(INPUTS)

    def get_next(self):
        row = next(self.rows, None)
        return None if row is None else {"x": row}


def value(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8, 12, 12])


weight = numpy_helper.from_array(DRAW.standard_normal((8, 1, 3, 3)).astype(np.float32) / 3, "w")
conv = helper.make_node("Conv", ["x", "w"], ["y"], group=8, pads=[1, 1, 1, 1])
graph = helper.make_graph([conv], "net", [value("x")], [value("y")], [weight])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), "float.onnx")
exact = onnxruntime.InferenceSession("float.onnx").run(None, {"x": INPUTS[0]})[0]


def error(kind, on_npu):
    """Return the relative L2 error of the quantized graph."""
    symmetric = {"ActivationSymmetric": kind == QuantType.QInt16, "WeightSymmetric": True}
    formats = {"quant_format": QuantFormat.QDQ, "activation_type": kind, "weight_type": QuantType.QInt8}
    quantize_static("float.onnx", "quantized.onnx", Reader(), extra_options=symmetric, **formats)
    options = onnxruntime.SessionOptions()
    if on_npu:
        backend = str(Path(onnxruntime_qnn.LIB_DIR_FULL_PATH, "libQnnHtp.so"))
        options.add_provider_for_devices(DEVICES, {"backend_path": backend, "soc_model": "57", "htp_arch": "75"})
    made = onnxruntime.InferenceSession("quantized.onnx", options).run(None, {"x": INPUTS[0]})[0]
    return float(np.linalg.norm(made - exact) / np.linalg.norm(exact))


for kind in (QuantType.QInt16, QuantType.QUInt16):
    print(f"{kind} on the processor: {error(kind, False):.4f}")
unsigned = error(QuantType.QUInt16, True)
print(f"QUInt16 on the NPU's library: {unsigned:.4f}")
assert unsigned < 0.02
try:
    error(QuantType.QInt16, True)
except Exception as failed:
    print(f"QInt16 there: {str(failed)[:300]}")
    assert "not selected by that EP" in str(failed)
else:
    raise SystemExit("QInt16 is taken now.")
print("as described")
PYTHON
