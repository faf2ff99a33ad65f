"""What is in an artifact, on the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from mobilekit.artifacts.analysis.mediapipe import tasks_for, why_no_detector, why_refused
from mobilekit.artifacts.delegate import Delegation
from mobilekit.artifacts.inspect import Inspection, Tensor, TFLiteTensor
from mobilekit.artifacts.metadata import LABEL_FILES, Metadata
from mobilekit.artifacts.metadata_tables import (
    BoundingBoxProperties,
    ColorSpace,
    CoordinateType,
    ImageProperties,
    NormalizationOptions,
    TensorMetadata,
)
from mobilekit.artifacts.op_list import ListedOp
from mobilekit.cli.render.format import count, megabytes

_COLORS: dict[int, str] = {ColorSpace.RGB: "RGB ", ColorSpace.GRAYSCALE: "gray "}
_SIDES = ("left", "top", "right", "bottom")
_IN: dict[int, str] = {CoordinateType.RATIO: " as shares of width and height", CoordinateType.PIXEL: " in pixels"}
_SHOWN = 5
"""Labels, or modules, that a line has."""
_RUNTIMES = {"tflite": "LiteRT", "pte": "ExecuTorch"}
"""Of the formats that have delegates."""


def inspect_lines(file: Path, found: Inspection) -> list[str]:
    """Return the lines that `mobilekit inspect` prints of a file; nothing in them is markup."""
    ops = ", ".join(f"{number} {name}" for name, number in found.ops.items())
    return [
        f"{file}: {found.format}, {megabytes(found.size_bytes)}" + (f", {found.target}" if found.target else ""),
        *(f"  input  {_tensor(tensor)}" for tensor in found.inputs),
        *(f"  output {_tensor(tensor)}" for tensor in found.outputs),
        *(_metadata_lines(found, found.metadata) if found.metadata else ()),
        f"{count(sum(found.ops.values()), 'op')}: {ops}",
        *(_delegate_lines(found.delegate, _RUNTIMES[found.format]) if found.delegate else ()),
        *(op_lines(found.op_list) if found.op_list is not None else ()),
    ]


def _metadata_lines(found: Inspection, metadata: Metadata) -> Iterator[str]:
    """Yield what a file says of its inputs and outputs to apps, whichever tool wrote it."""
    if metadata.fault:
        yield f"metadata: it cannot be read: {metadata.fault}"
    files = f", with {', '.join(metadata.files)}" if metadata.files else ""
    for graph in metadata.model.subgraph_metadata:
        yield f"metadata for apps{files}:"
        yield from (f"  input  {tensor.name}: {_made(tensor)}" for tensor in graph.input_tensor_metadata)
        is_detector = any(isinstance(_what(tensor), BoundingBoxProperties) for tensor in graph.output_tensor_metadata)
        for tensor in graph.output_tensor_metadata:
            yield f"  output {tensor.name}: {_given(tensor, metadata, is_detector)}"
    if reason := why_refused(found):
        yield f"MediaPipe Tasks does not open it: {reason}."
        return
    tasks = tasks_for(found)
    if tasks:
        yield f"MediaPipe Tasks: {' and '.join(tasks)} {'opens' if len(tasks) == 1 else 'open'} it."
    if reason := why_no_detector(found):
        yield f"MediaPipe's ObjectDetector does not: {reason}."


def _what(tensor: TensorMetadata) -> object:
    return tensor.content.content_properties if tensor.content else None


def _made(tensor: TensorMetadata) -> str:
    """Return what an input is, and how an app makes it of values in 0 to 255."""
    what, parts = _what(tensor), ["values"]
    if isinstance(what, ImageProperties):
        size = f" {what.default_size.height}x{what.default_size.width}" if what.default_size else ""
        parts = [f"{_COLORS.get(what.color_space, '')}picture{size}"]
    for unit in tensor.process_units:
        if isinstance(unit.options, NormalizationOptions):
            mean, std = (" ".join(f"{each:.6g}" for each in values) for values in vars(unit.options).values())
            parts.append(f"(value - mean) / std of 0 to 255, mean {mean}, std {std}")
    return ", ".join(parts)


def _given(tensor: TensorMetadata, metadata: Metadata, is_detector: bool) -> str:
    """Return what an output is: its labels, or that it has none; of boxes, which sides they have."""
    what = _what(tensor)
    if isinstance(what, BoundingBoxProperties):
        sides = [_SIDES[what.index.index(place)] if place in what.index else "?" for place in range(4)]
        return f"boxes, {', '.join(sides)}" + _IN.get(what.coordinate_type, "")
    named = [file.name for file in tensor.associated_files if file.type in LABEL_FILES]
    if named:
        first = ", ".join(metadata.labels[:_SHOWN]) + (", ..." if len(metadata.labels) > _SHOWN else "")
        return f"{count(len(metadata.labels), 'label')} in {named[0]}: {first}"
    return "values" if is_detector else "no labels (of classes, --labels FILE of an export names them)"


def op_lines(ops: Sequence[ListedOp]) -> list[str]:
    """Return a line for each op, in columns: number, kind, what it makes, bytes of weights, module."""
    rows = [("", "op", "output", "type", "weights", "module")]
    for each in ops:
        shapes = ", ".join(_shape(made.shape) for made in each.outputs)
        types = ", ".join(dict.fromkeys(made.dtype or "?" for made in each.outputs))
        weights = f"{each.weights_bytes:,}" if each.weights_bytes else ""
        rows.append((str(each.index), each.op, shapes, types, weights, each.module or ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    places = (str.rjust, str.ljust, str.rjust, str.ljust, str.rjust, str.ljust)
    columns = list(zip(places, widths, strict=True))
    lines = ("  ".join(place(cell, width) for cell, (place, width) in zip(row, columns, strict=True)) for row in rows)
    return [line.rstrip() for line in lines]


def _shape(shape: Sequence[int | str | None] | None) -> str:
    """Return sizes as `1x32x32x3`; `scalar` where there is none, `?` for what is not known."""
    if shape is None:
        return "?"
    return "x".join("?" if size is None else str(size) for size in shape) or "scalar"


def _tensor(tensor: Tensor) -> str:
    quantized = ""
    if isinstance(tensor, TFLiteTensor) and tensor.scale:
        quantized = f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
    layout = f" {tensor.layout}" if tensor.layout else ""
    return f"{tensor.name}: {tensor.dtype} {_shape(tensor.shape)}{layout}{quantized}"


def _delegate_lines(delegate: Delegation, runtime: str) -> Iterator[str]:
    if delegate.name is None:
        yield f"No delegate took anything: every op runs on {runtime}'s own kernels."
    else:
        parts = count(delegate.partitions, "partition")
        yield f"{delegate.name} runs {delegate.delegated} of {delegate.total} ops in {parts}."
    kinds = Counter((each.op, each.reason) for each in delegate.undelegated)
    for (op, reason), number in kinds.most_common():
        same = [each for each in delegate.undelegated if (each.op, each.reason) == (op, reason)]
        modules = dict.fromkeys(each.module for each in same if each.module)
        help_text = f"; {same[0].help}" if same[0].help else ""
        yield f"  not delegated: {number} {op} ({reason}){_modules([*modules])}{help_text}"


def _modules(paths: list[str]) -> str:
    """Return of which modules ops are, the first ones."""
    more = ", ..." if len(paths) > _SHOWN else ""
    return f" in {', '.join(paths[:_SHOWN])}{more}" if paths else ""
