"""What two files of the same name differ in: ops, metadata, weights."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.executorch.pte import read_pte
from mobilekit.artifacts.tflite import constant, kinds, unpack

Weights = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Contents:
    """What a file holds, taken apart."""

    ops: Mapping[str, int]
    """Count of each kind of op."""
    metadata: Mapping[str, Any]
    """What names and describes, and computes nothing."""
    weights: Weights
    """Constants by name."""


def op_changes(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Return the kinds of ops whose count changed, with both counts."""
    kinds = sorted({*before, *after})
    counts = {kind: (before.get(kind, 0), after.get(kind, 0)) for kind in kinds}
    return {kind: (old, new) for kind, (old, new) in counts.items() if old != new}


def differences(before: Path, after: Path) -> list[str]:
    """Say what differs between two files that are not the same, a phrase each."""
    try:
        old, new = _read(before), _read(after)
    except Exception as error:  # a damaged file fails in whatever way its parser likes
        return [f"one of the two cannot be taken apart ({type(error).__name__})"]
    found = [f"{kind}: {one} -> {other} ops" for kind, (one, other) in op_changes(old.ops, new.ops).items()]
    found += [
        f"metadata {key}: {_short(old.metadata.get(key))} -> {_short(new.metadata.get(key))}"
        for key in sorted({*old.metadata, *new.metadata})
        if old.metadata.get(key) != new.metadata.get(key)
    ]
    found += _weight_changes(old.weights, new.weights)
    return found or ["ops, metadata and weights are the same: the order or layout of the file differs"]


def _read(path: Path) -> Contents:
    readers = {".tflite": _read_tflite, ".onnx": _read_onnx, ".pte": _read_program}
    return (readers | {".safetensors": _read_safetensors, ".json": _read_json})[path.suffix](path)


def _read_tflite(path: Path) -> Contents:
    model = unpack(path.read_bytes())
    codes = kinds(model)
    metadata = {"description": model.description, "version": model.version}
    weights: Weights = {}
    ops: Counter[str] = Counter()
    for index, graph in enumerate(model.subgraphs):
        ops.update(codes[op.opcodeIndex] for op in graph.operators)
        metadata[f"tensor names of graph {index}"] = [tensor.name for tensor in graph.tensors]
        for number, tensor in enumerate(graph.tensors):
            values, scale = constant(model, tensor), tensor.quantization and tensor.quantization.scale
            if values is not None:
                weights[f"{index}/{number}"] = values
            if scale is not None:
                weights[f"{index}/{number} scale"] = np.asarray(scale)
    for entry in model.metadata or []:
        metadata[entry.name.decode()] = bytes(model.buffers[entry.buffer].data)
    return Contents(ops, metadata, weights)


def _read_onnx(path: Path) -> Contents:
    import onnx

    model = onnx.load(path)
    metadata = {
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "ir_version": model.ir_version,
        "opset": [(entry.domain, entry.version) for entry in model.opset_import],
        "doc_string": model.doc_string + model.graph.doc_string,
        "properties": sorted((entry.key, entry.value) for entry in model.metadata_props),
        "graph name": model.graph.name,
        "node names": [node.name for node in model.graph.node],
    }
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return Contents(Counter(node.op_type for node in model.graph.node), metadata, weights)


def _read_program(path: Path) -> Contents:
    found = read_pte(path)
    return Contents(found.ops, {**found.facts, "parts": len(found.parts), "outside": found.outside}, {})


def _read_safetensors(path: Path) -> Contents:
    from safetensors.numpy import load_file

    return Contents({}, {}, load_file(path))


def _read_json(path: Path) -> Contents:
    content: Any = json.loads(path.read_text())
    return Contents({}, content if isinstance(content, dict) else {"content": content}, {})


def _weight_changes(before: Weights, after: Weights) -> list[str]:
    """Return how many constants differ, with the largest difference, and how many stand in one file alone."""
    shared = [name for name in before if name in after and before[name].shape == after[name].shape]
    changed = [name for name in shared if before[name].tobytes() != after[name].tobytes()]
    found = []
    if changed:
        steps = {name: float(np.abs(_wide(before[name]) - _wide(after[name])).max()) for name in changed}
        worst = max(steps, key=lambda name: steps[name])
        found.append(f"weights: {len(changed)} of {len(shared)} constants differ, by {steps[worst]:.3g} in {worst}")
    lone = len({*before, *after}) - len(shared)
    if lone:
        found.append(f"weights: {lone} constants have no partner of the same name and shape")
    return found


def _wide(array: NDArray[Any]) -> NDArray[np.float64]:
    return array.astype(np.float64)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
