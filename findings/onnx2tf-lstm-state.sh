#!/usr/bin/env bash
# onnx2tf 2.6.9's direct writer makes of a bidirectional LSTM an op that goes on where the last inference ended.
#
# ONNX's LSTM without initial states begins at zero in every run, and so it does with zeros given as its initial states.
# The file's BIDIRECTIONAL_SEQUENCE_LSTM keeps its states in variable tensors between runs: the first run is right, and the
# same input again gives something else, in TensorFlow Lite's own runtime and without a word. A test that runs a file once
# sees nothing. Interpreter.reset_all_variables() before each run brings the right values back.
#
# Seen on 2026-11-29 with LiteRT 2.1.2 and 2.3.0 on x86-64: an LSTM of 6 steps, 4 inputs and 3 values is within 3e-8 of
# ONNX Runtime in the first run, and .12 off in the second (.18 with initial states of zeros).
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
STEPS, INPUTS, HIDDEN = 6, 4, 3
RANDOM = np.random.default_rng(0)
SHAPES = {"w": (2, 4 * HIDDEN, INPUTS), "r": (2, 4 * HIDDEN, HIDDEN), "b": (2, 8 * HIDDEN)}
X = RANDOM.normal(size=(STEPS, 1, INPUTS)).astype(np.float32)


def write(states):
    """Write an LSTM of both directions, and the mean over its steps."""
    weights = {name: RANDOM.normal(0, 0.5, shape) for name, shape in SHAPES.items()}
    weights |= {name: np.zeros((2, 1, HIDDEN)) for name in states}
    taken = ["x", *SHAPES, *(["", *states] if states else [])]
    nodes = [
        helper.make_node("LSTM", taken, ["made"], "lstm", hidden_size=HIDDEN, direction="bidirectional"),
        helper.make_node("ReduceMean", ["made"], ["y"], "mean", axes=[0], keepdims=0),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", X.shape), ("y", (2, 1, HIDDEN)))
    ]
    constants = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "net.onnx")


for states in ((), ("h", "c")):
    write(states)
    subprocess.run(["onnx2tf", "-i", "net.onnx", "-o", "made", "-n"], check=True, capture_output=True)
    right = onnxruntime.InferenceSession("net.onnx").run(None, {"x": X})[0]
    interpreter = Interpreter("made/net_float32.tflite")
    interpreter.allocate_tensors()
    assert "BIDIRECTIONAL_SEQUENCE_LSTM" in {each["op_name"] for each in interpreter._get_ops_details()}

    def run():
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], X)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

    first, second = run(), run()
    interpreter.reset_all_variables()
    again = run()
    print(f"initial states {states or 'left out'}: largest difference to ONNX Runtime of the first run "
          f"{np.abs(first - right).max():.1e}, the second {np.abs(second - right).max():.1e}, "
          f"after a reset {np.abs(again - right).max():.1e}")
    assert np.abs(first - right).max() < 1e-6 and np.abs(again - right).max() < 1e-6
    assert np.abs(second - right).max() > 1e-2
print("as described")
PYTHON
