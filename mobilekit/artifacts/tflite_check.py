"""Whether a TFLite file is whole: LiteRT 2.1 trusts what it reads, and crashes the process on garbage."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from mobilekit.artifacts.tflite import unpack

IDENTIFIER = b"TFL3"
_LARGEST = 2**31
"""Values of one tensor: a FlatBuffers file has no more bytes, and LiteRT tries for minutes to make one of more."""


def damage_in(content: bytes) -> str | None:
    """Return what is wrong with the structure of a TFLite file, in a phrase; None where nothing is found.

    What is looked at: that it can be read at all, that names are text, and that everything that is numbered exists.

    Args:
        content: The file.
    """
    if content[4:8] != IDENTIFIER:
        return "it is not a whole TFLite file"
    try:
        return next(_faults(unpack(content)), None)
    except Exception:  # the generated reader trips over garbage in its own ways
        return "it is not a whole TFLite file"


def _faults(model: Any) -> Iterator[str]:
    if not model.subgraphs:
        yield "it is not a whole TFLite file"
    names = [code.customCode for code in model.operatorCodes or []] + [graph.name for graph in model.subgraphs]
    yield from ("a name of an op or a graph is not UTF-8" for name in names if not _is_text(name))
    for entry in model.metadata or []:
        if not _is_text(entry.name):
            yield "a name in its metadata is not UTF-8"
        yield from _missing([entry.buffer], len(model.buffers or []), "its metadata names", "buffer")
    for graph in model.subgraphs:
        tensors = graph.tensors or []
        for number, tensor in enumerate(tensors):
            yield from _faults_of_tensor(tensor, f"tensor {number}", len(model.buffers or []))
        for number, op in enumerate(graph.operators or []):
            yield from _faults_of_op(op, f"op {number}", len(model.operatorCodes or []), len(tensors))
        ends = [*_numbers(graph.inputs), *_numbers(graph.outputs)]
        yield from _missing(ends, len(tensors), "the graph's inputs or outputs name")
        yield from (f"tensor {end}, which is an input or output, has no name" for end in ends if not tensors[end].name)
    for signature in model.signatureDefs or []:
        entries = [*(signature.inputs or []), *(signature.outputs or [])]
        names = [signature.signatureKey, *(entry.name for entry in entries)]
        yield from ("a name in the signature is not UTF-8" for name in names if not _is_text(name))
        yield from _missing([signature.subgraphIndex], len(model.subgraphs), "the signature names", "graph")
        tensors = model.subgraphs[signature.subgraphIndex].tensors or []
        yield from _missing((entry.tensorIndex for entry in entries), len(tensors), "the signature names")
        unnamed = [entry.tensorIndex for entry in entries if not tensors[entry.tensorIndex].name]
        yield from (f"tensor {number}, which the signature names, has no name itself" for number in unnamed)


def _faults_of_tensor(tensor: Any, what: str, buffers: int) -> Iterator[str]:
    sizes = [] if tensor.shape is None else [int(size) for size in tensor.shape]
    if not _is_text(tensor.name):
        yield f"the name of {what} is not UTF-8"
    yield from _missing([tensor.buffer], buffers, f"{what} names", "buffer")
    if min(sizes, default=1) < 0 or math.prod(sizes) > _LARGEST:
        yield f"{what} has the shape {'x'.join(map(str, sizes))}"


def _faults_of_op(op: Any, what: str, codes: int, tensors: int) -> Iterator[str]:
    numbers = [*_numbers(op.inputs), *_numbers(op.outputs)]
    yield from _missing([op.opcodeIndex], codes, f"{what} names", "kind")
    yield from _missing((number for number in numbers if number != -1), tensors, f"{what} names")  # -1: an absent one
    if not numbers:
        yield f"{what} takes and makes nothing"


def _missing(numbers: Iterable[int], count: int, who: str, what: str = "tensor") -> Iterator[str]:
    """Yield a phrase for each number that is not one of `count`."""
    return (f"{who} {what} {number}, and it has {count}" for number in numbers if not 0 <= number < count)


def _numbers(vector: Any) -> list[int]:
    return [] if vector is None else [int(number) for number in vector]


def _is_text(name: bytes | None) -> bool:
    try:
        (name or b"").decode()
    except UnicodeDecodeError:
        return False
    return True
