#!/usr/bin/env bash
# pnnx 20261020 loses the axis of ONNX's ReduceSum and ReduceMean where it is one, and an input: ncnn then sums nothing.
#
# From opset 13 (ReduceSum) and 18 (ReduceMean) on the axes are an input. Of a single one pnnx writes
# `Reduction ... -23303=0`, a list of no axes, and ends with exit code 0; ncnn gives back what it took. With the attribute
# of opset 11, and with two axes, the same sums are right. Found on EfficientViT, whose attention is not finite in ncnn.
#
# Seen on 2026-11-29 on x86-64 with pnnx and ncnn 20261020.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ncnn==1.0.20261020 numpy==2.2.6 onnx==1.20.1
"$folder/venv/bin/pip" install --quiet --no-deps pnnx==20261020
cd "$folder"
venv/bin/python - <<'PYTHON'
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import ncnn
import numpy as np
import onnx
from onnx import TensorProto, helper

print({name: version(name) for name in ("pnnx", "ncnn", "onnx", "numpy")})
PNNX = Path(find_spec("pnnx").submodule_search_locations[0]) / "pnnx"
IMAGE = np.arange(60, dtype=np.float32).reshape(1, 3, 4, 5)


def converted(kind, opset, axes):
    """Return what ncnn gives for a sum or mean behind a convolution that changes nothing, as ONNX's opset writes it."""
    is_input = opset >= 18
    constants = [helper.make_tensor("w", TensorProto.FLOAT, [3, 3, 1, 1], np.eye(3, dtype=np.float32).ravel())]
    constants += [helper.make_tensor("axes", TensorProto.INT64, [len(axes)], axes)] if is_input else []
    given = (["c", "axes"], {}) if is_input else (["c"], {"axes": axes})
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node(kind, given[0], ["y"], keepdims=1, **given[1])]
    shapes = {"x": [1, 3, 4, 5], "y": [1, 3, 1 if 2 in axes else 4, 1]}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], constants)
    name = f"{kind.lower()}{opset}_{len(axes)}"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), f"{name}.onnx")
    subprocess.run([PNNX, f"{name}.onnx", "fp16=0"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(f"{name}.ncnn.param")
    net.load_model(f"{name}.ncnn.bin")
    with net.create_extractor() as extractor:
        extractor.input("in0", ncnn.Mat(IMAGE[0]).clone())
        return np.array(extractor.extract("out0")[1])


seen = {}
for kind, right in (("ReduceSum", np.sum), ("ReduceMean", np.mean)):
    for opset in (11, 18):
        for axes in ([3], [2, 3]):
            made, wanted = converted(kind, opset, axes), right(IMAGE, tuple(axes))
            is_right = made.size == wanted.size and bool(np.allclose(made.ravel(), wanted.ravel(), rtol=1e-3))
            seen[kind, opset, len(axes)] = is_right
            print(kind, "opset", opset, "axes", axes, "gives", made.shape, "right" if is_right else "wrong")
assert all(is_right == (key[1:] != (18, 1)) for key, is_right in seen.items())
PYTHON
