#!/usr/bin/env bash
# onnxsim 0.4.36 refuses a valid model that has a Constant whose value is given as numbers and not as a tensor.
#
# ONNX has these since opset 12: `value_int`, `value_ints`, `value_float`, `value_floats`. The checker takes them, ONNX
# Runtime runs them, and PyTorch's present exporter writes them where it does not optimize. onnxsim's optimizer wants
# the attribute `value` of every Constant, and raises a RuntimeError that names neither the node nor the operator.
#
# Seen on 2026-11-29 with onnxsim 0.4.36, onnx 1.19.1, onnxruntime 1.23.0: each of the four raises "required undefined
# attribute 'value'". The same model with a tensor is simplified.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxsim==0.4.36 onnx==1.19.1 onnxruntime==1.23.0 numpy==1.26.4
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
import onnxsim
from onnx import TensorProto, helper

print({name: version(name) for name in ("onnxsim", "onnx", "onnxruntime")})
EXPECTED = "required undefined attribute 'value'"


def model(**value):
    """Return x, times a constant that is written in one of the ways, as a float."""
    nodes = [
        helper.make_node("Constant", [], ["c"], **value),
        helper.make_node("Cast", ["c"], ["factor"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "factor"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    made = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    )
    onnx.checker.check_model(made, full_check=True)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.ones(2, np.float32)})[0].tolist() == [3.0, 3.0]
    return made


def said(made):
    """Return what onnxsim raises; nothing where it does its work."""
    try:
        onnxsim.simplify(made)
    except RuntimeError as error:
        return str(error)
    return ""


as_tensor = said(model(value=helper.make_tensor("v", TensorProto.FLOAT, [1], [3.0])))
as_numbers = {
    name: said(model(**{name: value}))
    for name, value in {"value_int": 3, "value_ints": [3], "value_float": 3.0, "value_floats": [3.0]}.items()
}
print("value:", as_tensor or "simplified")
for name, words in as_numbers.items():
    print(f"{name}:", words[-80:] or "simplified")
assert not as_tensor, as_tensor
assert all(EXPECTED in words for words in as_numbers.values()), as_numbers
print("as described")
PYTHON
