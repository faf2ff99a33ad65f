#!/usr/bin/env bash
# onnx2tf 2.6.9's direct writer gives a file an output that no operator makes, where another is its transposed copy.
#
# A model may return a map as it is and with its channels last. The writer keeps maps with their channels last, so the
# transposed copy needs no operator; with the Transpose it drops the map itself, and names it as an output all the same.
# It exits with 0. LiteRT opens and runs the file, gives the copy, and raises a ValueError where the map is asked for.
# Each output alone is right. The direct writer is what `onnx2tf` runs by default since version 2.
#
# Seen on 2026-11-29 with onnx2tf 2.6.9, ai-edge-litert 2.1.2, onnx 1.20.1, onnxruntime 1.26.0: "Tensor data is null".
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
SHAPES = {"map": (1, 4, 6, 7), "copy": (1, 6, 7, 4)}
FILE = "out/model_float32.tflite"


def convert(names):
    """Convert a convolution with some outputs, and return an input of it and what ONNX Runtime makes of that."""
    draw = np.random.default_rng(0)
    kernels = numpy_helper.from_array(draw.standard_normal((4, 3, 1, 1)).astype(np.float32), "kernels")
    nodes = [helper.make_node("Conv", ["x", "kernels"], ["map"])]
    if "copy" in names:
        nodes.append(helper.make_node("Transpose", ["map"], ["copy"], perm=[0, 2, 3, 1]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 6, 7))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPES[name]) for name in names]
    graph = helper.make_graph(nodes, "g", [x], outputs, [kernels])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "model.onnx")
    subprocess.run(["onnx2tf", "-i", "model.onnx", "-o", "out", "-n"], check=True, capture_output=True)
    given = draw.standard_normal((1, 3, 6, 7)).astype(np.float32)
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    return given, dict(zip(names, session.run(None, {"x": given})))


def made_by_nothing():
    """Return the names of the file's outputs that no operator makes."""
    with open(FILE, "rb") as file:
        (graph,) = schema.ModelT.InitFromPackedBuf(file.read(), 0).subgraphs
    made = {int(number) for op in graph.operators for number in op.outputs}
    return [graph.tensors[number].name.decode() for number in graph.outputs if int(number) not in made]


def run(given, wanted):
    """Return, for each output of the file, whether it is right; where it has no data, what LiteRT says."""
    interpreter = Interpreter(FILE)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], given.transpose(0, 2, 3, 1))
    interpreter.invoke()
    said = {}
    for detail in interpreter.get_output_details():
        expected = wanted[detail["name"]]
        try:
            array = interpreter.get_tensor(detail["index"])
        except ValueError as error:
            said[detail["name"]] = str(error)
            continue
        if array.shape != expected.shape:  # a map alone is written with its channels last
            expected = expected.transpose(0, 2, 3, 1)
        said[detail["name"]] = bool(np.allclose(array, expected, atol=1e-5))
    return said


for names in (("map",), ("copy",), ("map", "copy")):
    given, wanted = convert(names)
    lost, said = made_by_nothing(), run(given, wanted)
    print(f"{' and '.join(names)}: made by nothing {lost}, {said}")
    if len(names) == 1:
        assert lost == [] and list(said.values()) == [True]
    else:
        assert lost == ["map"] and said["copy"] is True and "Tensor data is null" in said["map"]
print("as described")
PYTHON
