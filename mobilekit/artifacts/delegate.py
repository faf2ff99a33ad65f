"""Which ops of a TFLite model the XNNPACK delegate takes, and why it leaves the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mobilekit.store.jsonable import ABSENT_IF_NONE, Jsonable

_DELEGATE = "DELEGATE"  # as LiteRT names a partition among a graph's nodes
# Ops for which XNNPACK's delegate has no kernel at all, in LiteRT 2.1 (found by running one-op models), and what does.
_NO_KERNEL = {
    "RESIZE_NEAREST_NEIGHBOR": "only bilinear resizes have one",
    "RELU_0_TO_1": "RELU6 has one",
    "GATHER": "slices and transposes have one",
    "SQUARED_DIFFERENCE": "for quantized tensors; SUB and MUL have one",
}
MOST_JOINED = 5
"""Inputs of a CONCATENATION that XNNPACK takes (LiteRT 2.1.0 and 2.3.0, found as above)."""
FLOAT_ONLY = {"AVERAGE_POOL_2D", "HARD_SWISH", "BATCH_MATMUL", "PADV2", "RSQRT", "DIV", "RELU"}


@dataclass(frozen=True)
class UndelegatedOp(Jsonable):
    """An op that the delegate does not run."""

    op: str
    """Its kind, as TFLite names it."""
    name: str
    """Of its first output."""
    reason: str
    module: str | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Of a file for ExecuTorch: path of the module in the PyTorch model, where that is known."""
    help: str | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Of a file for ExecuTorch: what lets XNNPACK take it, where something is known."""


@dataclass(frozen=True)
class Delegation(Jsonable):
    """What of a file a delegate runs."""

    name: str | None
    """None where no delegate took anything."""
    partitions: int
    """Parts in which it runs the graph."""
    delegated: int
    """How many ops it runs, ..."""
    total: int
    """... and of how many."""
    undelegated: tuple[UndelegatedOp, ...]


def describe_delegate(interpreter: Any) -> Delegation:
    """Return what the delegate runs, and the ops that it does not run with the reason.

    Args:
        interpreter: An ai_edge_litert Interpreter with allocated tensors.
    """
    details = interpreter._get_ops_details()
    tensors = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    partitions = delegated_ops(interpreter)
    nodes = [node for node in details if node["op_name"] != _DELEGATE]
    taken = set().union(*partitions)
    left = [node for node in nodes if node["index"] not in taken]
    undelegated = [UndelegatedOp(node["op_name"], _name(node, tensors), _reason(node, tensors)) for node in left]
    return Delegation(
        name="XNNPACK" if partitions else None,
        partitions=len(partitions),
        delegated=len(taken),
        total=len(nodes),
        undelegated=tuple(undelegated),
    )


def delegated_ops(interpreter: Any) -> list[set[int]]:
    """Return the indices of the ops inside each partition of the delegate, in the order in which partitions run.

    Args:
        interpreter: An ai_edge_litert Interpreter with allocated tensors.
    """
    details = interpreter._get_ops_details()
    maker = {int(index): node for node in details if node["op_name"] != _DELEGATE for index in node["outputs"]}
    return [_members(node, maker) for node in details if node["op_name"] == _DELEGATE]


def _members(partition: dict[str, Any], maker: dict[int, dict[str, Any]]) -> set[int]:
    """Return the nodes inside a partition: those that lead from its inputs to its outputs."""
    borders = set(map(int, partition["inputs"]))
    members: set[int] = set()
    waiting = [int(index) for index in partition["outputs"]]
    while waiting:
        node = maker.get(waiting.pop())
        if node is None or node["index"] in members:
            continue
        members.add(node["index"])
        waiting += [int(index) for index in _present(node["inputs"]) if int(index) not in borders]
    return members


def _name(node: dict[str, Any], tensors: dict[int, dict[str, Any]]) -> str:
    outputs = [tensors[int(index)]["name"] for index in _present(node["outputs"]) if int(index) in tensors]
    return outputs[0] if outputs else f"node {node['index']}"


def _reason(node: dict[str, Any], tensors: dict[int, dict[str, Any]]) -> str:
    op = node["op_name"]
    indices = [int(index) for index in _present(node["inputs"]) if int(index) in tensors]
    types = {tensors[index]["dtype"].__name__ for index in indices}
    made = {tensors[int(index)]["dtype"].__name__ for index in _present(node["outputs"]) if int(index) in tensors}
    if "int16" in types | made:
        return "XNNPACK has no kernels for int16: LiteRT's own run it"
    quantized = bool(types & {"int8", "uint8"})
    if op in _NO_KERNEL:
        return f"XNNPACK has no kernel for {op}: {_NO_KERNEL[op]}"
    if quantized and op in FLOAT_ONLY:
        return f"XNNPACK takes {op} in float only, and this one is quantized"
    if op == "CONCATENATION" and len(indices) > MOST_JOINED:
        return f"XNNPACK joins up to {MOST_JOINED} tensors, and this {op} has {len(indices)}"
    return f"XNNPACK refused this {op}: its shapes, types or parameters are outside what its kernel takes"


def _present(indices: Iterable[int]) -> list[int]:
    """Leave out the -1 of absent optional tensors."""
    return [int(index) for index in indices if int(index) >= 0]
