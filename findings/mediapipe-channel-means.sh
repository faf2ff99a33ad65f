#!/usr/bin/env bash
# MediaPipe 1.2.3 refuses a float32 file whose metadata has a mean and std for each channel, which the schema asks for.
#
# TFLite's metadata schema, which comes with MediaPipe, says that tensors "are normalized on a per-channel basis", and
# that a single mean or std goes for all channels. ImageClassifier takes one number, and three equal ones, and computes
# what they say. ImageNet's three means and stds, those of most models trained with PyTorch, end with "Per-channel image
# normalization is not available." when the file is opened. Issue 968 of tflite-support told of it in 2024. A file that
# takes bytes and normalizes by itself is the way out.
#
# Seen on 2026-11-30 on x86-64: one number and three equal ones are right to 3.1e-7; means, stds or both that differ are
# refused.
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
from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata
from mediapipe.tasks.python import BaseOptions, vision

print({name: version(name) for name in ("mediapipe", "numpy")})
SIDE = 8
PIXELS = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
MEANS, STDS = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
SAYS = "Per-channel image normalization is not available."


def packed(table, identifier):
    """Return a FlatBuffer."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(table.Pack(builder), identifier)
    return bytes(builder.Output())


def described(mean, std):
    """Return the metadata of a file that takes an RGB picture, (values - mean) / std."""
    options, unit, content = metadata.NormalizationOptionsT(), metadata.ProcessUnitT(), metadata.ContentT()
    tensor, graph, model = metadata.TensorMetadataT(), metadata.SubGraphMetadataT(), metadata.ModelMetadataT()
    options.mean, options.std = list(mean), list(std)
    unit.optionsType, unit.options = metadata.ProcessUnitOptions.NormalizationOptions, options
    content.contentPropertiesType = metadata.ContentProperties.ImageProperties
    content.contentProperties = metadata.ImagePropertiesT()
    content.contentProperties.colorSpace = metadata.ColorSpaceType.RGB
    tensor.content, tensor.processUnits = content, [unit]
    graph.inputTensorMetadata, model.subgraphMetadata = [tensor], [graph]
    return packed(model, b"M001")


def write(mean, std):
    """Return a float32 TFLite file that gives the values of its picture as classes."""
    model, graph, op, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data, entry.name, entry.buffer = np.frombuffer(described(mean, std), np.uint8), b"TFLITE_METADATA", 1
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    model.buffers, model.metadata = [schema.BufferT(), buffer], [entry]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RESHAPE
    op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.ReshapeOptions, schema.ReshapeOptionsT()
    op.builtinOptions.newShape, op.inputs, op.outputs = [1, PIXELS.size], [0], [1]
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [op], [0], [1]
    for name, shape in ((b"x", (1, *PIXELS.shape)), (b"y", (1, PIXELS.size))):
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.shape = name, schema.TensorType.FLOAT32, np.array(shape, np.int32)
        graph.tensors.append(tensor)
    return packed(model, b"TFL3")


def seen(mean, std):
    """Return what MediaPipe says where it refuses the file, or how far the network's input is off."""
    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_buffer=write(mean, std)))
    made = np.empty(PIXELS.size)
    try:
        with vision.ImageClassifier.create_from_options(options) as classifier:
            shown = classifier.classify(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=PIXELS))
    except NotImplementedError as error:
        return str(error)
    for category in shown.classifications[0].categories:
        made[category.index] = category.score
    return float(np.abs(made.reshape(PIXELS.shape) - (PIXELS - np.array(mean)) / np.array(std)).max())


for mean, std in (((127.5,), (64.0,)), (MEANS[:1] * 3, STDS[:1] * 3)):
    off = seen(mean, std)
    print(f"mean {mean}, std {std}: {off}")
    assert isinstance(off, float) and off < 1e-6
for mean, std in ((MEANS, STDS), (MEANS, STDS[:1] * 3), (MEANS[:1] * 3, STDS)):
    said = seen(mean, std)
    print(f"mean {mean}, std {std}: {said}")
    assert said == SAYS
print("as described")
PYTHON
