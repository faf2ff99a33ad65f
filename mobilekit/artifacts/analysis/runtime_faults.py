"""Known faults of the installed runtimes, and which of them touch a file: the op is there, in the form at fault.

The faults and the versions that have them are data, in `runtime_faults.toml` beside this file.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from packaging.specifiers import SpecifierSet

from mobilekit.artifacts.inspect import Inspection
from mobilekit.artifacts.onnx import read_onnx
from mobilekit.artifacts.tflite import TFLiteGraph, constant, numbers, type_of
from mobilekit.store.jsonable import Jsonable
from mobilekit.store.versions import installed_version

_RUNTIMES = {".tflite": "ai-edge-litert", ".onnx": "onnxruntime"}


@dataclass(frozen=True)
class RuntimeFault(Jsonable):
    """A known fault of some versions of a runtime."""

    name: str
    runtime: str
    """The package, such as `ai-edge-litert`."""
    versions: str
    """Those that have it, as a version specifier of Python packages."""
    op: str
    """The op at fault, as the format names it, ..."""
    form: str
    """... and in which form."""
    text: str
    """What is wrong, without a full stop."""
    advice: str
    source: str
    """Where this is known from."""
    without_delegates: bool = False
    """Whether the fault shows only where no delegate runs the op, as in the values inside of a model."""
    on_gpu: bool = False
    """Whether it is the GPU accelerator's."""


@dataclass(frozen=True)
class FileFault(RuntimeFault):
    """A fault of a runtime that touches a file."""

    file: str = ""
    """Its name."""
    version: str = ""
    """Of the runtime."""
    ops: int = 0
    """How many ops of the file have the form at fault."""
    first: str = ""
    """Name of the first one's output."""


@dataclass(frozen=True)
class InspectResult(Inspection):
    """What is in an artifact, and which known faults of the installed runtime touch it."""

    runtime_faults: tuple[FileFault, ...] = ()


def known_faults(runtime: str, version: str) -> list[RuntimeFault]:
    """Return the known faults of a version of a runtime.

    Args:
        runtime: The package, such as `ai-edge-litert`.
        version: Its version.
    """
    return [
        each
        for each in _all_faults()
        if each.runtime == runtime and SpecifierSet(each.versions).contains(version, prereleases=True)
    ]


def installed_faults() -> list[tuple[str, RuntimeFault]]:
    """Return the known faults of the installed runtimes, each with the version."""
    versions = {runtime: installed_version(runtime) for runtime in _RUNTIMES.values()}
    return [
        (version, each) for runtime, version in versions.items() if version for each in known_faults(runtime, version)
    ]


def faults_in(
    path: Path, version: str | None = None, *, without_delegates: bool = True, on_gpu: bool = False
) -> tuple[FileFault, ...]:
    """Return the faults of a runtime that touch a file: it has such an op in such a form.

    Args:
        path: An .onnx or .tflite file; of others nothing is known.
        version: Of LiteRT or ONNX Runtime; the installed one's without.
        without_delegates: With faults that show only where no delegate runs the op.
        on_gpu: The GPU accelerator's faults, and no others.

    Raises:
        ToolError: It is no whole ONNX file.
    """
    runtime = _RUNTIMES.get(path.suffix)
    version = version or (installed_version(runtime) if runtime else None)
    if runtime is None or version is None:
        return ()
    faults = [
        each
        for each in known_faults(runtime, version)
        if each.on_gpu == on_gpu and (without_delegates or not each.without_delegates)
    ]
    if not faults:
        return ()
    places = _tflite_places(path) if path.suffix == ".tflite" else _onnx_places(path)
    found: dict[str, list[str]] = {}
    for fault, output in places:
        found.setdefault(fault, []).append(output)
    return tuple(
        FileFault(**vars(each), file=path.name, version=version, ops=len(found[each.name]), first=found[each.name][0])
        for each in faults
        if each.name in found
    )


@cache
def _all_faults() -> tuple[RuntimeFault, ...]:
    content = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    return tuple(RuntimeFault(name=name, **fields) for name, fields in content.items())


def _tflite_places(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the fault and the output's name of each op of a TFLite file that has the form of one."""
    graph = TFLiteGraph(path.read_bytes())
    for kind, (fault, has_form) in _TFLITE_FORMS.items():
        for number in graph.ops_of([kind]):
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


def _is_grouped_pointwise(graph: TFLiteGraph, number: int) -> bool:
    """Return whether a convolution has groups, a kernel of 1 x 1, and weights of 8 bits."""
    taken, weights = (graph.tensors[one] for one in graph.operands[number][:2])
    channels, (_made, height, width, per_group) = numbers(taken.shape)[-1], numbers(weights.shape)
    return type_of(weights) == "INT8" and (height, width) == (1, 1) and channels != per_group


def _step(tensor: Any) -> tuple[float, int]:
    """Return a tensor's scale and zero point; (0, 0) where it has none."""
    of = tensor.quantization
    if of is None or of.scale is None or not len(of.scale):
        return 0.0, 0
    return float(of.scale[0]), next(iter(numbers(of.zeroPoint)), 0)


_TFLITE_FORMS: dict[str, tuple[str, Callable[[TFLiteGraph, int], bool]]] = {
    "BATCH_MATMUL": ("batch-matmul-zero-point", _has_second_zero_point),
    "MEAN": ("mean-one-step", _is_rescaled_spatial_mean),
    "LOGISTIC": ("logistic-scale", _has_other_scale),
    "CONV_2D": ("gpu-grouped-pointwise", _is_grouped_pointwise),
}


def _onnx_places(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the fault and the output's name of each node of an ONNX file that has the form of one."""
    import onnx

    model = read_onnx(path)
    resizes = [node for node in model.graph.node if node.op_type == "Resize"]
    if not resizes:
        return
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # onnx raises what it likes; the file's own shapes are then all there is
        graph = model.graph
    values = (*graph.input, *graph.value_info, *graph.output)
    shapes = {one.name: [dim.dim_value for dim in one.type.tensor_type.shape.dim] for one in values}
    for node in resizes:
        before, after = shapes.get(node.input[0], []), shapes.get(node.output[0], [])
        if _is_nearest_floor(node) and any(map(_takes_other_rows, before, after)):
            yield "nearest-float32-rows", node.output[0]


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
