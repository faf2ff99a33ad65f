"""The versions of ops: onnx2tf's direct writer says that each is 1.

By them a runtime that is too old knows that it has to refuse a file. The rules are those of TensorFlow Lite's converter
for files without quantization (`GetBuiltinOperatorVersion` in its `tools/versioning/op_version.cc`).
"""

from __future__ import annotations

from typing import Any

from mobilekit.artifacts.tflite import kinds, numbers, type_of

_BY_OPTION = {
    ("FULLY_CONNECTED", "keepNumDims"): 5,
    ("GATHER", "batchDims"): 5,
    ("RESIZE_BILINEAR", "halfPixelCenters"): 3,
    ("RESIZE_NEAREST_NEIGHBOR", "halfPixelCenters"): 3,
    ("RESIZE_NEAREST_NEIGHBOR", "alignCorners"): 3,
    ("STRIDED_SLICE", "ellipsisMask"): 6,
    ("STRIDED_SLICE", "newAxisMask"): 6,
    ("TRANSPOSE_CONV", "fusedActivationFunction"): 4,
}
_BY_TYPE = {
    ("ABS", "INT32"): 5,
    ("ADD", "INT64"): 4,
    ("FLOOR_DIV", "FLOAT32"): 2,
    ("GATHER", "BOOL"): 3,
    ("MUL", "INT64"): 5,
    ("SPLIT", "INT32"): 3,
    ("STRIDED_SLICE", "BOOL"): 3,
    ("SUB", "INT64"): 4,
    ("TRANSPOSE", "BOOL"): 3,
    ("UNPACK", "BOOL"): 3,
}
_OF_FIVE_AXES = {"PAD": 4, "PADV2": 4, "SELECT": 3, "SLICE": 5, "STRIDED_SLICE": 4, "TRANSPOSE": 4}
_OF_FIVE_AXES_IN_TWO_SHAPES = {"DIV": 2, "MAXIMUM": 3, "MINIMUM": 3, "SUB": 3}
_OF_SIX_AXES = {"TRANSPOSE": 6}
_ALWAYS = {"BROADCAST_TO": 2}


def set_versions(model: Any) -> None:
    """Raise the version of each operator code of a float32 model to what its ops need, in place."""
    graph, found = model.subgraphs[0], kinds(model)
    for op in graph.operators:
        code = model.operatorCodes[op.opcodeIndex]
        taken = [graph.tensors[number] for number in numbers(op.inputs) if number >= 0]
        kind = found[op.opcodeIndex]
        version = max(_by_fields(kind, op), _by_inputs(kind, taken))
        version = max(version, *(_BY_TYPE.get((kind, type_of(graph.tensors[made])), 1) for made in numbers(op.outputs)))
        code.version = max(code.version, version)


def _by_fields(kind: str, op: Any) -> int:
    """Return the version for an op's options."""
    options = op.builtinOptions
    if kind == "DEPTHWISE_CONV_2D":
        return 1 if options.dilationWFactor == options.dilationHFactor == 1 else 2
    found = (since for (each, field), since in _BY_OPTION.items() if each == kind and getattr(options, field, False))
    return max(found, default=1)


def _by_inputs(kind: str, taken: list[Any]) -> int:
    """Return the version for the number and the shapes of what an op takes."""
    shapes = [numbers(tensor.shape) for tensor in taken]
    axes = max(map(len, shapes), default=0)
    version = _ALWAYS.get(kind, 1)
    if axes > 4:
        version = max(version, _OF_FIVE_AXES.get(kind, 1))
        if shapes[0] != shapes[-1]:
            version = max(version, _OF_FIVE_AXES_IN_TWO_SHAPES.get(kind, 1))
    if axes > 5:
        version = max(version, _OF_SIX_AXES.get(kind, 1))
    if kind == "FULLY_CONNECTED" and len(taken) == 2:  # it has no bias
        version = 6
    if kind == "TRANSPOSE_CONV" and len(taken) == 4:  # it has one
        version = max(version, 3)
    is_grouped = kind == "CONV_2D" and shapes[0][3] != shapes[1][3]
    return 6 if is_grouped else version
