"""The forms of ops that known faults of runtimes are about, found in a file; `runtime_faults` says whose they are."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mobilekit.artifacts.onnx import read_onnx
from mobilekit.artifacts.tflite import TFLiteGraph, constant, numbers, type_of

Shapes = Mapping[str, list[int]]


def places_in(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the fault and the output's name of each op of a file that has the form of one.

    Args:
        path: An .onnx or .tflite file; others have none.

    Raises:
        ToolError: It is no whole ONNX file.
    """
    if path.suffix == ".tflite":
        yield from _tflite_places(path)
    elif path.suffix == ".onnx":
        yield from _onnx_places(path)


def _tflite_places(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the fault and the output's name of each op of a TFLite file that has the form of one."""
    graph = TFLiteGraph(path.read_bytes())
    for fault, (op_kinds, has_form) in _TFLITE_FORMS.items():
        for number in graph.ops_of(op_kinds):
            if has_form(graph, number):
                yield fault, graph.name(graph.results[number][0])


def _has_second_zero_point(graph: TFLiteGraph, number: int) -> bool:
    second = graph.tensors[graph.operands[number][1]]
    return type_of(second) == "INT8" and _step(second)[1] != 0


def _is_rescaled_spatial_mean(graph: TFLiteGraph, number: int) -> bool:
    taken, axes = (graph.tensors[one] for one in graph.operands[number])
    made, listed = graph.tensors[graph.results[number][0]], constant(graph.model, axes)
    if type_of(taken) != "INT8" or listed is None or not graph.options(number).keepDims:
        return False
    rank = len(numbers(taken.shape))
    return rank == 4 and {int(axis) % rank for axis in listed.ravel()} == {1, 2} and _step(taken) != _step(made)


def _has_other_scale(graph: TFLiteGraph, number: int) -> bool:
    made = graph.tensors[graph.results[number][0]]
    return type_of(made) == "INT8" and not math.isclose(_step(made)[0], 1 / 256, rel_tol=1e-6)


def _drifts(graph: TFLiteGraph, number: int) -> bool:
    """Return whether places in steps of 1 / 1024 pixel are off by what moves a map of int8 by one of its 256 levels."""
    taken, made = graph.tensors[graph.operands[number][0]], graph.tensors[graph.results[number][0]]
    if type_of(taken) != "INT8":
        return False
    fewer = 1 if graph.options(number).alignCorners else 0
    for before, after in zip(numbers(taken.shape)[1:3], numbers(made.shape)[1:3], strict=True):
        ratio = (before - fewer) / max(after - fewer, 1)
        if abs(round(1024 * ratio) / 1024 - ratio) * (after - 1) > 1 / 256:
            return True
    return False


def _makes_int8(graph: TFLiteGraph, number: int) -> bool:
    return type_of(graph.tensors[graph.results[number][0]]) == "INT8"


def is_grouped_pointwise(graph: TFLiteGraph, number: int) -> bool:
    """Return whether a convolution has groups, a kernel of 1 x 1, and weights of 8 bits."""
    taken, weights = (graph.tensors[one] for one in graph.operands[number][:2])
    channels, (_made, height, width, per_group) = numbers(taken.shape)[-1], numbers(weights.shape)
    return type_of(weights) == "INT8" and (height, width) == (1, 1) and channels != per_group


def _has_scale_per_channel(graph: TFLiteGraph, number: int) -> bool:
    """Return whether a layer has weights of 8 bits with a scale for each channel."""
    weights = graph.tensors[graph.operands[number][1]]
    of = weights.quantization
    return type_of(weights) == "INT8" and of is not None and of.scale is not None and len(of.scale) > 1


def _is_output_and_taken(graph: TFLiteGraph, number: int) -> bool:
    """Return whether an op makes an output of the model that another op takes as well."""
    [made] = graph.results[number]
    is_output = made in numbers(graph.model.subgraphs[0].outputs)
    return is_output and any(made in taken for taken in graph.operands)


def _step(tensor: Any) -> tuple[float, int]:
    """Return a tensor's scale and zero point; (0, 0) where it has none."""
    of = tensor.quantization
    if of is None or of.scale is None or not len(of.scale):
        return 0.0, 0
    return float(of.scale[0]), next(iter(numbers(of.zeroPoint)), 0)


_LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
_TFLITE_FORMS: dict[str, tuple[tuple[str, ...], Callable[[TFLiteGraph, int], bool]]] = {
    "batch-matmul-zero-point": (("BATCH_MATMUL",), _has_second_zero_point),
    "mean-one-step": (("MEAN",), _is_rescaled_spatial_mean),
    "logistic-scale": (("LOGISTIC",), _has_other_scale),
    "resize-bilinear-step": (("RESIZE_BILINEAR",), _drifts),
    "sqrt-floor": (("SQRT",), _makes_int8),
    "gpu-grouped-pointwise": (("CONV_2D",), is_grouped_pointwise),
    "gpu-add-output": (("ADD",), _is_output_and_taken),
    "mediatek-per-channel": (_LAYERS, _has_scale_per_channel),
}

_SUMS = ("ReduceSum", "ReduceMean")


def _onnx_places(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the fault and the output's name of each node of an ONNX file that has the form of one."""
    import onnx

    model = read_onnx(path)
    if not {"Resize", "Conv", *_SUMS} & {node.op_type for node in model.graph.node}:
        return
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # onnx raises what it likes; the file's own shapes are then all there is
        graph = model.graph
    values = (*graph.input, *graph.value_info, *graph.output)
    shapes = {one.name: [dim.dim_value for dim in one.type.tensor_type.shape.dim] for one in values}
    single = {one.name for one in graph.initializer if list(one.dims) == [1]}
    takers = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            takers[name].append(node)
    for node in graph.node:
        if node.op_type == "Resize" and _is_nearest_floor(node):
            before, after = shapes.get(node.input[0], []), shapes.get(node.output[0], [])
            if any(map(_takes_other_rows, before, after)):
                yield "nearest-float32-rows", node.output[0]
        elif node.op_type in _SUMS and node.input[-1] in single:
            yield "pnnx-axis-of-sums", node.output[0]
        elif _has_groups(node) and _is_shuffled(node.output[0], takers, shapes):
            yield "rknn-shuffle-after-groups", node.output[0]


def _has_groups(node: Any) -> bool:
    return node.op_type == "Conv" and any(one.name == "group" and one.i > 1 for one in node.attribute)


def _is_shuffled(name: str, takers: Mapping[str, list[Any]], shapes: Shapes) -> bool:
    """Return whether what only moves a map's numbers behind its convolution gives its channels another order."""
    shape = shapes.get(name, [])
    if len(shape) != 4 or not all(shape):
        return False
    before = moved = np.arange(math.prod(shape)).reshape(shape)
    while len(takers[name]) == 1 and takers[name][0].op_type in ("Reshape", "Transpose"):
        [node] = takers[name]
        name = node.output[0]
        if node.op_type == "Transpose":
            moved = moved.transpose(next(one.ints for one in node.attribute if one.name == "perm"))
        elif math.prod(shapes.get(name, [])) == moved.size:
            moved = moved.reshape(shapes[name])
        else:
            return False
        if moved.shape == before.shape and not np.array_equal(moved, before):
            return np.array_equal(np.sort(moved, axis=1), before)  # the same numbers at each place
    return False


def _is_nearest_floor(node: Any) -> bool:
    given = {one.name: one.s.decode() for one in node.attribute}
    asked = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return all(given.get(name) == value for name, value in asked.items())


def _takes_other_rows(before: int, after: int) -> bool:
    """Return whether floor(i / scale) in float32, with scale = after / before, is another row than the defined one.

    That is floor(i before / after). So ONNX Runtime 1.32.0 computed the rows in all of 3422 pairs of sizes up to 59.
    """
    if not before or not after:
        return False
    rows, scale = np.arange(after), np.float32(after) / np.float32(before)
    return bool((np.floor(rows.astype(np.float32) / scale) != rows * before // after).any())
