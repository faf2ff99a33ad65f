"""What kind of work an op of a TFLite file does, as reports group it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilekit.recipes.modules import GATED_BRANCHES
from mobilekit.store.jsonable import Jsonable

_BY_OP = {
    "DEPTHWISE_CONV_2D": "depthwise",
    "FULLY_CONNECTED": "fully connected",
    "BATCH_MATMUL": "matrix product",
    "TRANSPOSE_CONV": "convolution",
    "TRANSPOSE": "transpose",
    "QUANTIZE": "quantize",
    "DEQUANTIZE": "quantize",
    "CONCATENATION": "concat",
    "SPLIT": "concat",
    "SPLIT_V": "concat",
    "SLICE": "concat",
    "STRIDED_SLICE": "concat",
    "PAD": "padding",
    "PADV2": "padding",
    "MIRROR_PAD": "padding",
    "RESHAPE": "reshape",
    "SQUEEZE": "reshape",
    "EXPAND_DIMS": "reshape",
    "AVERAGE_POOL_2D": "pooling",
    "MAX_POOL_2D": "pooling",
    "MEAN": "pooling",
    "SUM": "pooling",
}
_RESIZES = ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "DEPTH_TO_SPACE")
# What of a gated branch makes its gate; the rest of it is the branch itself.
_GATES = ("LOGISTIC", "RELU_0_TO_1")
# What brings a gate to the size or form of the map that it multiplies.
_CARRIERS = (*_RESIZES, "RESHAPE", "STRIDED_SLICE", "SLICE", "CONCATENATION")

_DEPTH = 2
"""Parts of a module's path by which figures are summed: `blocks.3`."""


@dataclass(frozen=True)
class Op(Jsonable):
    """An op of a TFLite file, in the order in which they run."""

    index: int
    op: str
    tensor: str
    """Name of the first tensor that it makes."""
    module: str | None
    """Path of the PyTorch module that it comes from; None where the bundle does not tell."""
    kind: str
    quantized: bool
    """It computes with integers."""


def read_ops(path: Path, alignment: Mapping[str, Any] | None) -> list[Op]:
    """Return the ops of a TFLite file.

    Args:
        path: The file.
        alignment: The bundle's: `modules` (path by tensor) and `classes` (class by path); None for a lone file.

    Raises:
        ToolError: LiteRT cannot open the file.
    """
    from mobilekit.artifacts.litert import LiteRTRuntime

    interpreter = LiteRTRuntime(path, keep_tensors=True).interpreter
    tensors = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    classes = alignment["classes"] if alignment else {}
    details = interpreter._get_ops_details()
    names = [_name(detail, tensors) for detail in details]
    modules = _modules(details, names, alignment["modules"] if alignment else {})
    ops = []
    gates: set[int] = set()  # tensors that carry a branch's gate, in its own or the full size
    for detail, name, module in zip(details, names, modules, strict=True):
        taken = [int(index) for index in detail["inputs"] if int(index) in tensors]
        kind = _kind(detail["op_name"], [tuple(tensors[index]["shape"]) for index in taken], module, classes)
        if detail["op_name"] == "MUL" and gates.intersection(taken):
            kind = "gate"
        elif kind == "gate" or (detail["op_name"] in _CARRIERS and gates.intersection(taken)):
            gates.update(map(int, detail["outputs"]))
        quantized = bool(taken) and tensors[taken[0]]["dtype"].__name__ in ("int8", "uint8", "int16")
        ops.append(Op(int(detail["index"]), detail["op_name"], name, module, kind, quantized))
    return ops


def module_group(module: str | None) -> str:
    """Return what the figures of a module's ops are summed under: its path, cut to the first two parts."""
    return ".".join((module or "(unknown)").split(".")[:_DEPTH])


def _name(detail: dict[str, Any], tensors: Mapping[int, dict[str, Any]]) -> str:
    return str(tensors[int(detail["outputs"][0])]["name"]) if len(detail["outputs"]) else f"node {detail['index']}"


def _modules(details: Sequence[dict[str, Any]], names: Sequence[str], known: Mapping[str, str]) -> list[str | None]:
    """Return the module of each op; one that only this precision has belongs to the op that uses its result.

    Args:
        details: The ops.
        names: Of the first tensor that each makes.
        known: Module by the name of a tensor in the float32 file.
    """
    alike: dict[str, set[str]] = {}
    for name, path in known.items():
        alike.setdefault(_unnumbered(name), set()).add(path)
    modules: list[str | None] = []
    users: dict[int, str | None] = {}
    for detail, name in zip(reversed(details), reversed(names), strict=True):
        same = {known[name]} if name in known else alike.get(_unnumbered(name), set())
        used_by = (users[int(index)] for index in detail["outputs"] if int(index) in users)
        module = next(iter(same)) if len(same) == 1 else next(used_by, None)
        users.update(dict.fromkeys(map(int, detail["inputs"]), module))
        modules.insert(0, module)
    return modules


def _unnumbered(name: str) -> str:
    """Return a tensor's name without the number that the converter appends to one that occurs twice in a file."""
    return re.sub(r"(?<![_\d])\d+$", "", name)


def _kind(op: str, shapes: list[tuple[int, ...]], module: str | None, classes: Mapping[str, str]) -> str:
    """Return the kind of an op; `shapes` are those of its inputs, of which a convolution's second is its filter."""
    if op in _RESIZES:
        return "resize"
    if branch := _branch_of(module, classes):
        return "gate" if op in _GATES else branch
    if op == "CONV_2D":
        taken, filters = shapes[0], shapes[1]
        if filters[3] == 1 and taken[3] > 1:  # as many groups as channels
            return "depthwise"
        return "pointwise" if filters[1:3] == (1, 1) else "convolution"
    return _BY_OP.get(op, "elementwise")


def _branch_of(module: str | None, classes: Mapping[str, str]) -> str | None:
    """Return what the gated branch is called in which a module stands, None where it stands in none."""
    parts = module.split(".") if module else []
    owners = (classes.get(".".join(parts[:length])) for length in range(1, len(parts) + 1))
    return next((GATED_BRANCHES[owner] for owner in owners if owner in GATED_BRANCHES), None)
