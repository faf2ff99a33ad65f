"""What an artifact takes and gives, and what it is made of: for manifests and `mobilekit inspect`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mobilekit.artifacts.delegate import describe_delegate
from mobilekit.artifacts.litert import LiteRTRuntime, TensorInfo
from mobilekit.errors import ToolError, UsageError
from mobilekit.recipes.schema import Input, Recipe
from mobilekit.store.bundle import output_layouts

Described = dict[str, Any]


def input_entry(spec: Input) -> Described:
    """Return how a picture becomes the input."""
    return {
        "colour": spec.colour,
        "size": spec.size,
        "resize_shorter_side_to": round(spec.size / spec.crop),
        "resize": "bicubic",
        "crop": "centre",
        "scale": "0..1",
        "mean": list(spec.mean),
        "std": list(spec.std),
    }


def extra_input_entries(recipe: Recipe) -> dict[str, Described]:
    """Return how the recipe's extra inputs come about, by name: pictures as the input does, others as they are."""
    return {
        name: input_entry(recipe.input) if extra.like else extra.model_dump(mode="json", include={"shape", "range"})
        for name, extra in recipe.extra_inputs.items()
    }


def artifact_entries(folder: Path) -> dict[str, Described]:
    """Return the inputs and outputs of each artifact in a bundle's folder, by file name."""
    layouts = output_layouts(folder)
    entries = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix in (".onnx", ".tflite")):
        described = inspect(path)
        entry = entries[path.name] = {key: described[key] for key in ("format", "inputs", "outputs")}
        if path.suffix == ".tflite":
            for tensor in entry["inputs"]:
                tensor["layout"] = "NHWC" if len(tensor["shape"]) == 4 else None
            for tensor in entry["outputs"]:
                tensor["layout"] = layouts.get(tensor["name"])
    return entries


def artifact_summary(path: Path) -> Described:
    """Return a file's `size_bytes`, `ops` (count by name) and XNNPACK's `partitions` (None for ONNX): for ledgers."""
    described = inspect(path)
    delegate = described["delegate"]
    return {
        "size_bytes": described["size_bytes"],
        "ops": described["ops"],
        "partitions": delegate["partitions"] if delegate else None,
    }


def inspect(path: Path) -> Described:
    """Look into an .onnx or .tflite file.

    Returns:
        `format`, `ops` (count by name), `delegate` (TFLite only), `inputs`, `outputs`, `size_bytes`.

    Raises:
        UsageError: There is no such file, or it has another suffix.
        ToolError: The file cannot be opened.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    if path.suffix == ".onnx":
        described = _inspect_onnx(path)
    elif path.suffix == ".tflite":
        described = _inspect_tflite(path)
    else:
        raise UsageError(f"{path.name} is neither .onnx nor .tflite.")
    return {**described, "size_bytes": path.stat().st_size}


def _inspect_tflite(path: Path) -> Described:
    runtime = LiteRTRuntime(path)
    nodes = [node for node in runtime.interpreter._get_ops_details() if node["op_name"] != "DELEGATE"]
    return {
        "format": "tflite",
        "ops": dict(Counter(node["op_name"] for node in nodes).most_common()),
        "delegate": describe_delegate(runtime.interpreter),
        "inputs": [_tensor_entry(info) for info in runtime.inputs],
        "outputs": [_tensor_entry(info) for info in runtime.outputs],
    }


def _inspect_onnx(path: Path) -> Described:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(path).graph
    except DecodeError as error:
        raise ToolError(f"{path} is not an ONNX file: {error}.") from error

    def entry(value: onnx.ValueInfoProto) -> Described:
        kind = value.type.tensor_type
        shape = [dim.dim_value or dim.dim_param or None for dim in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
        return {"name": value.name, "shape": shape, "layout": "NCHW" if len(shape) == 4 else None, "dtype": dtype}

    weights = {tensor.name for tensor in graph.initializer}
    return {
        "format": "onnx",
        "ops": dict(Counter(node.op_type for node in graph.node).most_common()),
        "delegate": None,
        "inputs": [entry(value) for value in graph.input if value.name not in weights],
        "outputs": [entry(value) for value in graph.output],
    }


def _tensor_entry(info: TensorInfo) -> Described:
    entry = asdict(info)
    del entry["index"]
    layout = None
    if len(info.shape) == 4:
        layout = "NCHW" if info.shape[1] in (1, 3) and info.shape[3] not in (1, 3) else "NHWC"
    return {**entry, "shape": list(info.shape), "layout": layout}
