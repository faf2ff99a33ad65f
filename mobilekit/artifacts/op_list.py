"""The ops of an artifact in their order, each with what it makes, what it holds, and the PyTorch module it is of."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilekit.artifacts.coreml.package import SUFFIX as PACKAGE
from mobilekit.artifacts.coreml.package import read_package
from mobilekit.artifacts.executorch.pte import read_pte
from mobilekit.artifacts.onnx import read_onnx
from mobilekit.artifacts.tflite import TFLiteGraph, numbers, type_of
from mobilekit.errors import ToolError
from mobilekit.store.bundle import MODULES

_PARAMETERS = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Made:
    """A tensor that an op makes."""

    name: str
    shape: tuple[int | str | None, ...] | None
    """A size that is free has its name, or None where it has none. None: the file does not say."""
    dtype: str | None
    """As NumPy names it. None: the file does not say."""


@dataclass(frozen=True)
class ListedOp:
    """An op of an artifact's first graph."""

    index: int
    op: str
    """Its kind, as the format names it."""
    outputs: tuple[Made, ...]
    weights_bytes: int
    """Of the constants that it reads, in the file; one that several ops read counts for each."""
    module: str | None
    """Path of the module in the PyTorch model; None where that is not known."""


def list_ops(path: Path) -> tuple[ListedOp, ...]:
    """Return the ops of an artifact in the order in which they run; what a delegate runs is one op.

    Modules are known in a TFLite file that lies in a bundle, which says where each tensor is from, and in an ONNX file
    of those nodes that are named after theirs, as in a bundle, or whose weights are.
    """
    readers = {".onnx": _onnx_ops, ".tflite": _tflite_ops, ".pte": _steps, PACKAGE: _coreml_ops}
    return readers[path.suffix](path)


def _steps(path: Path) -> tuple[ListedOp, ...]:
    """Return the steps of a .pte file, of which neither sizes nor modules are read."""
    names = (
        step if isinstance(step, str) else f"{step.backend} ({sum(step.ops.values())} ops)"
        for step in read_pte(path).steps
    )
    return tuple(ListedOp(index, name, (), 0, None) for index, name in enumerate(names))


def _coreml_ops(path: Path) -> tuple[ListedOp, ...]:
    """Return the operations of a Core ML package, of which neither weights nor modules are read."""
    steps = enumerate(read_package(path).steps)
    return tuple(
        ListedOp(index, step.op, tuple(Made(each.name, each.shape, each.dtype) for each in step.outputs), 0, None)
        for index, step in steps
    )


def _tflite_ops(path: Path) -> tuple[ListedOp, ...]:
    graph = TFLiteGraph(path.read_bytes())
    modules = _modules_beside(path)
    listed = []
    for index, kind in enumerate(graph.kinds):
        made = tuple(_tflite_made(graph, one) for one in graph.results[index])
        weights = sum(graph.constant_bytes(one) for one in graph.operands[index] if one >= 0)
        module = next((modules[one.name] for one in made if one.name in modules), None)
        listed.append(ListedOp(index, kind, made, weights, module))
    return tuple(listed)


def _tflite_made(graph: TFLiteGraph, number: int) -> Made:
    tensor = graph.tensors[number]
    return Made(graph.name(number), tuple(numbers(tensor.shape)), type_of(tensor).lower())


def _modules_beside(path: Path) -> dict[str, str]:
    """Return the module of each tensor of a TFLite file by its name; nothing for a file outside of a bundle.

    Raises:
        ToolError: The bundle's map cannot be read.
    """
    source = path.parent / MODULES
    if not source.is_file():
        return {}
    try:
        modules: dict[str, str] = json.loads(source.read_text("utf-8"))["modules"]
        return dict(modules)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ToolError(
            f"{source} cannot be read: {error}.", "Export the bundle again, or inspect a copy of the file."
        ) from error


def _onnx_ops(path: Path) -> tuple[ListedOp, ...]:
    import onnx

    model = read_onnx(path)
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # onnx raises what it likes; the file's own shapes are then all there is
        graph = model.graph
    known = {value.name: value.type.tensor_type for value in (*graph.value_info, *graph.output)}
    sizes = {tensor.name: _onnx_bytes(tensor) for tensor in graph.initializer}
    return tuple(
        ListedOp(
            index,
            node.op_type,
            tuple(_onnx_made(name, known) for name in node.output if name),
            sum(sizes.get(name, 0) for name in node.input),
            _onnx_module(node, sizes),
        )
        for index, node in enumerate(graph.node)
    )


def _onnx_made(name: str, known: Mapping[str, Any]) -> Made:
    import onnx

    kind = known.get(name)
    if kind is None or not kind.elem_type:
        return Made(name, None, None)
    shape = tuple(dim.dim_value or dim.dim_param or None for dim in kind.shape.dim) if kind.HasField("shape") else None
    return Made(name, shape, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name)


def _onnx_bytes(tensor: Any) -> int:
    import onnx

    return int(np.prod(tensor.dims, dtype=np.int64)) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _onnx_module(node: Any, weights: Collection[str]) -> str | None:
    """Return the module that a node is named after, as `MODULE/Kind`, or whose parameter it reads: `MODULE.weight`."""
    module, _, kind = node.name.rpartition("/")
    if module and "/" not in module and kind.partition("_")[0] == node.op_type:
        return str(module)
    names = (name.rpartition(".") for name in node.input if name in weights)
    return next((module for module, _, parameter in names if parameter in _PARAMETERS), None)
