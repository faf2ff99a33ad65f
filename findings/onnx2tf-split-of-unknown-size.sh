#!/usr/bin/env bash
# onnx2tf 2.6.9's direct writer makes a Split of known sizes into slices of unknown ones, and XNNPACK leaves them out.
#
# Attention and gated layers split channels. All shapes of the model are known, and its Split says its sizes. The writer
# makes a SLICE of each part, with a size of -1, all that is left, along the other axes, and -1 for these lengths in the
# shape signature of all that follows. Values are right. XNNPACK does not take a SLICE with a size of -1, so the graph
# falls into parts with LiteRT's own kernels between. With the sizes written out it is one part, whatever the signatures
# say. The same halves taken by two of ONNX's Slices become one SPLIT, and one part. The direct writer is what `onnx2tf`
# runs by default since version 2.
#
# Seen on 2026-11-29 with onnx2tf 2.6.9, ai-edge-litert 2.1.2, onnxruntime 1.26.0 on x86-64, a gated layer between two
# convolutions: two SLICEs of size (-1, -1, -1, 4) and 2 partitions from Split, a SPLIT and 1 partition from Slices.
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
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper

print({name: version(name) for name in ("onnx2tf", "onnx", "ai-edge-litert", "onnxruntime")})
SHAPE, FILE = (1, 8, 6, 6), "out/model_float32.tflite"
DRAW = np.random.default_rng(0)
CONSTANTS = {
    "before": DRAW.standard_normal((8, 8, 1, 1)).astype(np.float32),
    "after": DRAW.standard_normal((8, 4, 1, 1)).astype(np.float32),
    **{name: np.array(value) for name, value in {"sizes": [4, 4], "0": [0], "4": [4], "8": [8], "axis": [1]}.items()},
}
PARTS = {
    "Split": [helper.make_node("Split", ["map", "sizes"], ["left", "right"], axis=1)],
    "Slice": [
        helper.make_node("Slice", ["map", "0", "4", "axis"], ["left"]),
        helper.make_node("Slice", ["map", "4", "8", "axis"], ["right"]),
    ],
}


def convert(kind):
    """Convert two convolutions around the product of a map's halves."""
    nodes = [
        helper.make_node("Conv", ["x", "before"], ["map"]),
        *PARTS[kind],
        helper.make_node("Mul", ["left", "right"], ["product"]),
        helper.make_node("Conv", ["product", "after"], ["y"]),
    ]
    taken = {name for node in nodes for name in node.input}
    initializers = [numpy_helper.from_array(array, name) for name, array in CONSTANTS.items() if name in taken]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "model.onnx")
    subprocess.run(["onnx2tf", "-i", "model.onnx", "-o", "out", "-n"], check=True, capture_output=True)


def parting_ops():
    """Return the file's operators that take parts; of SLICEs the sizes too."""
    with open(FILE, "rb") as file:
        model = schema.ModelT.InitFromPackedBuf(file.read(), 0)
    (graph,) = model.subgraphs
    found = []
    for op in graph.operators:
        code = model.operatorCodes[op.opcodeIndex].builtinCode
        if code == schema.BuiltinOperator.SLICE:
            sizes = model.buffers[graph.tensors[int(op.inputs[2])].buffer].data
            found.append(("SLICE", *np.frombuffer(bytes(sizes), np.int32).tolist()))
        elif code == schema.BuiltinOperator.SPLIT:
            found.append(("SPLIT",))
    return found


def run():
    """Return the number of XNNPACK's partitions, and the relative L2 distance of the output from ONNX Runtime's."""
    given = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    wanted = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"]).run(None, {"x": given})[0]
    interpreter = Interpreter(FILE)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], given.transpose(0, 2, 3, 1))
    interpreter.invoke()
    made = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).transpose(0, 3, 1, 2)
    partitions = sum(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())
    return partitions, float(np.linalg.norm(made - wanted) / np.linalg.norm(wanted))


for kind, ops, expected in [("Split", [("SLICE", -1, -1, -1, 4)] * 2, 2), ("Slice", [("SPLIT",)], 1)]:
    convert(kind)
    found = parting_ops()
    partitions, distance = run()
    print(f"{kind} becomes {found}; partitions: {partitions}, relative L2 {distance:.2g}")
    assert found == ops and partitions == expected and distance < 1e-5
print("as described")
PYTHON
