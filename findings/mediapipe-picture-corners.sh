#!/usr/bin/env bash
# MediaPipe 1.2.3 on a CPU maps corners of pixels to corners: a picture of n times the size loses all but every nth pixel.
#
# ImageClassifier scales a picture to the model's size by bilinear interpolation, without antialiasing. OpenCV, Pillow,
# PyTorch and TensorFlow 2 map centers to centers, (i + 1/2) s - 1/2 with s pixels of the source for one. MediaPipe reads
# it at i s. So at a whole factor nothing is interpolated: it takes the pixels 0, n, 2 n and so on, and what is shown
# stands (n - 1) / 2 pixels of the source off. Black and white columns, one pixel wide, become a black picture at half
# the size, and a white one where they begin with white. A picture of the model's size passes untouched: scale it before.
#
# Seen on 2026-11-30 on x86-64 with a file that gives its input: noise of 40 x 40 to 20 x 20 and to 10 x 10 is
# pixels[::n, ::n] to the last byte. To 17, 23, 31 and 56 it is bilinear from corners to 5 levels, and 14 to 47 levels in
# the mean from centers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mediapipe==1.2.3 ai-edge-litert==2.3.0 flatbuffers==25.12.19 numpy==2.2.6
"$folder/venv/bin/python" - 2>"$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
from importlib.metadata import version

import flatbuffers
import mediapipe
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from mediapipe.tasks.python import BaseOptions, vision

print({name: version(name) for name in ("mediapipe", "numpy")})


def write(side):
    """Return a TFLite file that takes a picture of bytes, and gives its values as classes."""
    model, graph, op, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], [schema.BufferT()], [code]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RESHAPE
    op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.ReshapeOptions, schema.ReshapeOptionsT()
    op.builtinOptions.newShape, op.inputs, op.outputs = [1, 3 * side**2], [0], [1]
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [op], [0], [1]
    for name, shape in ((b"x", (1, side, side, 3)), (b"y", (1, 3 * side**2))):
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.shape = name, schema.TensorType.UINT8, np.array(shape, np.int32)
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [1.0], [0]
        graph.tensors.append(tensor)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def given(pixels, side):
    """Return the picture that MediaPipe gives to a network of another size."""
    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_buffer=write(side)))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        shown = classifier.classify(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels))
    made = np.empty(3 * side**2)
    for category in shown.classifications[0].categories:
        made[category.index] = category.score
    return made.reshape(side, side, 3)


def bilinear(pixels, side, center):
    """Return the square in another size, in float64; center is 1/2 for centers, and 0 for corners."""
    places = np.clip((np.arange(side) + center) * len(pixels) / side - center, 0, len(pixels) - 1)
    before = places.astype(int)
    matrix = np.zeros((side, len(pixels)))
    matrix[np.arange(side), before] = 1 - places + before
    matrix[np.arange(side), np.minimum(before + 1, len(pixels) - 1)] += places - before
    return np.einsum("ih,hwc,jw->ijc", matrix, pixels.astype(float), matrix)


noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
assert (given(noise, 40) == noise).all()
for factor in (2, 4):
    is_nth = bool((given(noise, 40 // factor) == noise[::factor, ::factor]).all())
    print(f"1 / {factor} of the size: is pixels[::{factor}, ::{factor}]: {is_nth}")
    assert is_nth
for side in (17, 23, 31, 56):
    made = given(noise, side)
    corners, centers = (np.abs(made - bilinear(noise, side, center)) for center in (0, 0.5))
    print(f"40 to {side}: off by {corners.max():.1f} at most from corners, by {centers.mean():.1f} in the mean from centers")
    assert corners.max() < 6 and corners.mean() < 1 and centers.mean() > 5
for first in (0, 1):
    columns = np.zeros((40, 40, 3), np.uint8)
    columns[:, 1 - first :: 2] = 255
    made, centers = given(columns, 20), bilinear(columns, 20, 0.5)
    print(f"columns of 255 from {1 - first} on: values of {np.unique(made)}; from centers, of {np.unique(centers)}")
    assert (made == 255 * first).all() and (centers == 127.5).all()
print("as described")
PYTHON
