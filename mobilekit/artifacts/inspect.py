"""What an artifact takes and gives, and what it is made of: for manifests and `mobilekit inspect`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mobilekit.artifacts.coreml.package import SUFFIX as PACKAGE
from mobilekit.artifacts.coreml.package import read_package
from mobilekit.artifacts.delegate import Delegation, describe_delegate
from mobilekit.artifacts.executorch.delegation import describe_parts
from mobilekit.artifacts.executorch.pte import read_pte
from mobilekit.artifacts.litert import LiteRTRuntime, LiteRTTensor
from mobilekit.artifacts.metadata import Metadata, metadata_in
from mobilekit.artifacts.onnx import read_onnx
from mobilekit.artifacts.op_list import ListedOp, list_ops
from mobilekit.artifacts.runtime import TensorInfo
from mobilekit.errors import UsageError
from mobilekit.recipes.picture import Input
from mobilekit.recipes.schema import Recipe
from mobilekit.store.bundle import MANIFEST, open_bundle
from mobilekit.store.files import size_of, write_atomic
from mobilekit.store.jsonable import ABSENT_IF_NONE, Jsonable, to_json

Described = dict[str, Any]
INPUT_KEY = "mobilekit.input"
"""Of an ONNX file's `metadata_props`."""


@dataclass(frozen=True)
class Tensor(Jsonable):
    """An input or output of an artifact."""

    name: str
    shape: tuple[int | str | None, ...]
    """A size that is free has its name, or None where it has none."""
    dtype: str
    """As NumPy names it."""
    layout: Literal["NCHW", "NHWC"] | None
    """Of images; None for other tensors."""


@dataclass(frozen=True)
class TFLiteTensor(Tensor):
    """One of a TFLite file, where quantized values stand for `scale * (value - zero_point)`."""

    scale: float | None
    zero_point: int | None


@dataclass(frozen=True)
class Inspection(Jsonable):
    """What is in an artifact."""

    format: Literal["onnx", "tflite", "pte", "mlpackage"]
    ops: dict[str, int]
    """How many of each kind, the most frequent first."""
    delegate: Delegation | None
    """None for ONNX and Core ML."""
    inputs: tuple[TFLiteTensor | Tensor, ...]
    outputs: tuple[TFLiteTensor | Tensor, ...]
    size_bytes: int
    metadata: Metadata | None = field(default=None, metadata=ABSENT_IF_NONE)
    """TFLite Model Metadata, where the file has it."""
    op_list: tuple[ListedOp, ...] | None = field(default=None, metadata=ABSENT_IF_NONE)
    """All ops in their order, where these are asked for."""
    target: str | None = field(default=None, metadata=ABSENT_IF_NONE)
    """The oldest system that runs a package of Core ML's, such as `iOS15`."""


def input_entry(spec: Input) -> Described:
    """Return how a picture becomes the input. What is resized and cropped is its largest part of the input's shape."""
    if spec.channels is not None:
        return {"channels": spec.channels, "size": list(spec.sides)}
    return {
        "color": spec.color,
        "size": spec.size if isinstance(spec.size, int) else list(spec.size),
        **_resize_entry(spec),
        "exif": spec.exif,
        **({"frame": list(spec.frame), "cropped_and_scaled": "inside the files"} if spec.frame else {}),
        **({"dtype": spec.dtype, "normalized": "inside the files"} if spec.takes_levels else {}),
        "scale": "0..1",
        "mean": list(spec.mean),
        "std": list(spec.std),
    }


def say_input(path: Path, spec: Input) -> None:
    """Write into an ONNX file's `metadata_props` how a picture becomes its input, as JSON: what the manifest has.

    It is added to the end: protocol buffers that stand one after the other are one message, to which each adds what may
    repeat (https://protobuf.dev/programming-guides/encoding/, "Last One Wins").
    """
    import onnx

    props = onnx.ModelProto()
    props.metadata_props.add(key=INPUT_KEY, value=json.dumps(input_entry(spec)))
    write_atomic(path, path.read_bytes() + props.SerializeToString())


def _resize_entry(spec: Input) -> Described:
    how: Described = {
        "resize": spec.resize.filter,
        "antialias": spec.resize.antialias,
        **({"corners": True} if spec.resize.corners else {}),
    }
    if spec.resize.mode == "crop":
        return {"resize_shorter_side_to": spec.resized_side, **how, "crop": "center"}
    return {**how, "mode": spec.resize.mode, "crop": spec.crop}


def extra_input_entries(recipe: Recipe) -> dict[str, Described]:
    """Return how the recipe's extra inputs come about, by name: pictures as the input does, others as they are."""
    return {
        name: input_entry(recipe.input) if extra.like else extra.model_dump(mode="json", include={"shape", "range"})
        for name, extra in recipe.extra_inputs.items()
    }


def artifact_entries(artifacts: Mapping[str, Inspection], layouts: Mapping[str, str]) -> dict[str, Described]:
    """Return the inputs and outputs of artifacts, by file name: for manifests.

    Args:
        artifacts: What `inspect` found, by file name.
        layouts: Of the TFLite files' outputs of four axes, by name.
    """
    entries = {}
    for name, found in artifacts.items():
        entry = {"format": found.format, "inputs": to_json(found.inputs), "outputs": to_json(found.outputs)}
        entries[name] = entry
        if found.format == "tflite":
            for tensor in entry["inputs"]:
                tensor["layout"] = "NHWC" if len(tensor["shape"]) == 4 else None
            for tensor in entry["outputs"]:
                tensor["layout"] = layouts.get(tensor["name"])
    return entries


def artifact_summary(found: Inspection) -> Described:
    """Return a file's `size_bytes`, `ops` (count by name) and XNNPACK's `partitions` (None for ONNX): for ledgers."""
    partitions = found.delegate.partitions if found.delegate else None
    return {"size_bytes": found.size_bytes, "ops": found.ops, "partitions": partitions}


def inspect(path: Path, with_ops: bool = False) -> Inspection:
    """Look into an .onnx, .tflite or .pte file, or an .mlpackage.

    Args:
        path: The file.
        with_ops: List its ops as well.

    Raises:
        UsageError: There is no such file, or it has another suffix.
        ToolError: The file cannot be opened.
    """
    if path.is_dir() and path.suffix != PACKAGE:
        raise UsageError(f"{path} is a directory.", "Name a file in it, such as model.int8.tflite of a bundle.")
    if not path.exists():
        raise UsageError(f"There is no file {path}.", _why_absent(path))
    readers = {".onnx": _inspect_onnx, ".tflite": _inspect_tflite, ".pte": _inspect_pte, PACKAGE: _inspect_package}
    if path.suffix not in readers:
        raise UsageError(f"{path} is neither .onnx, .tflite, .pte nor .mlpackage.")
    found = readers[path.suffix](path)
    return replace(found, op_list=list_ops(path)) if with_ops else found


def _why_absent(path: Path) -> str:
    """Return why a bundle has no such file; nothing where it was not left out, or there is no bundle."""
    if not (path.parent / MANIFEST).is_file():
        return ""
    failed = {each.stage.file: each for each in open_bundle(path.parent).failed_stages}
    return f"The export left it out: {failed[path.name].reason}." if path.name in failed else ""


def _inspect_tflite(path: Path) -> Inspection:
    runtime = LiteRTRuntime(path)
    nodes = [node for node in runtime.interpreter._get_ops_details() if node["op_name"] != "DELEGATE"]
    return Inspection(
        format="tflite",
        ops=dict(Counter(node["op_name"] for node in nodes).most_common()),
        delegate=describe_delegate(runtime.interpreter),
        inputs=tuple(map(_tflite_tensor, runtime.inputs)),
        outputs=tuple(map(_tflite_tensor, runtime.outputs)),
        size_bytes=path.stat().st_size,
        metadata=metadata_in(path.read_bytes()),
    )


def _inspect_onnx(path: Path) -> Inspection:
    import onnx

    graph = read_onnx(path).graph

    def tensor(value: onnx.ValueInfoProto) -> Tensor:
        kind = value.type.tensor_type
        shape = tuple(dim.dim_value or dim.dim_param or None for dim in kind.shape.dim)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
        return Tensor(value.name, shape, dtype, "NCHW" if len(shape) == 4 else None)

    weights = {tensor.name for tensor in graph.initializer}
    return Inspection(
        format="onnx",
        ops=dict(Counter(node.op_type for node in graph.node).most_common()),
        delegate=None,
        inputs=tuple(tensor(value) for value in graph.input if value.name not in weights),
        outputs=tuple(tensor(value) for value in graph.output),
        size_bytes=path.stat().st_size,
    )


def _inspect_pte(path: Path) -> Inspection:
    found = read_pte(path)
    return Inspection(
        format="pte",
        ops=found.ops,
        delegate=describe_parts(path, found),
        inputs=tuple(map(_tensor, found.inputs)),
        outputs=tuple(map(_tensor, found.outputs)),
        size_bytes=path.stat().st_size,
    )


def _inspect_package(path: Path) -> Inspection:
    found = read_package(path)
    return Inspection(
        format="mlpackage",
        ops=found.ops,
        delegate=None,
        inputs=tuple(map(_tensor, found.inputs)),
        outputs=tuple(map(_tensor, found.outputs)),
        size_bytes=size_of(path),
        target=found.target,
    )


def _tensor(info: TensorInfo) -> Tensor:
    return Tensor(info.name, info.shape, info.dtype, "NCHW" if len(info.shape) == 4 else None)


def _tflite_tensor(info: LiteRTTensor) -> TFLiteTensor:
    layout: Literal["NCHW", "NHWC"] | None = None
    if len(info.shape) == 4:
        layout = "NCHW" if info.shape[1] in (1, 3) and info.shape[3] not in (1, 3) else "NHWC"
    return TFLiteTensor(info.name, tuple(info.shape), info.dtype, layout, info.scale, info.zero_point)
