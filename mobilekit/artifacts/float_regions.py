"""Which tensors of a TFLite graph an int8 file leaves in float."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from mobilekit.artifacts.tflite import TFLiteGraph

DENSE = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
_SEEDS = {
    "division": ("DIV",),
    "attention": ("BATCH_MATMUL", "SOFTMAX"),
    "normalization": ("RSQRT", "SQRT"),
    "exponential": ("EXP", "LOG", "CUMSUM"),
}
_COORDINATES = ("GATHER", "GATHER_ND")
"""Where the places that they read are computed."""
_BOTH_WAYS = ("normalization", "exponential", "coordinates")
"""Words under which what follows, up to the dense ops after, stays in float too."""
_ALONE = {"hard-swish": ("HARD_SWISH",)}
"""Words under which ops stay in float by themselves, without what leads to them."""


def word_keeping(op: str) -> str | None:
    """Return the word of `keep_float` under which an op of this kind stays in float; None where none names it."""
    return next((word for word, ops in {**_SEEDS, **_ALONE}.items() if op in ops), None)


def tensors_to_keep(content: bytes, keep_float: Collection[str]) -> set[str]:
    """Return the names of the tensors that stay in float.

    A part that stays is an op and all that leads to it from the dense ops before; a normalization goes on from its
    square root to the dense ops after, and so do exponentials, logarithms and what is read at coordinates.

    Args:
        content: A float32 TFLite file.
        keep_float: `division`: an int8 denominator has 8 bits for all its values, and the small ones, which matter
            most, become 0. `attention`: products of computed matrices, and softmaxes, whose many small weights int8
            cannot tell from 0. `normalization`: their variances span more than 8 bits, and so do the sums before
            them. `exponential`: of 8 bits in, each is a multiple of the one before; logarithms and running sums
            likewise. `coordinates`: 8 bits are 256 places for a map to be read at; the dense ops that make them stay in
            float as well. `hard-swish`: the results of HARD_SWISH alone, for which XNNPACK has no int8 kernel, so that
            each would end a partition. `residual-add`: the results of additions of two computed tensors alone, as
            residual blocks have them; in int8 each rounds again all that the blocks before it gave.
    """
    graph = TFLiteGraph(content)
    seeds = {op for word in keep_float for op in _seeds(graph, word)}
    for word in set(_BOTH_WAYS) & set(keep_float):
        seeds |= _reach(graph, _seeds(graph, word), graph.after)
    kept = _reach(graph, seeds, graph.before)
    if "coordinates" in keep_float:
        makers = [graph.makers[graph.operands[op][1]] for op in _seeds(graph, "coordinates")]
        places = _reach(graph, makers, graph.before)
        kept |= {dense for op in places for dense in (op, *graph.before[op]) if graph.kinds[dense] in DENSE}
    kept |= {op for word in keep_float for op in graph.ops_of(_ALONE.get(word, ()))}
    if "residual-add" in keep_float:
        computed = set(graph.computed())
        kept |= {op for op in graph.ops_of(("ADD",)) if computed.issuperset(graph.operands[op])}
    return {graph.name(tensor) for op in kept for tensor in graph.results[op]}


def _seeds(graph: TFLiteGraph, word: str) -> list[int]:
    """Return the ops that a word keeps in float, with what leads to them."""
    if word != "coordinates":
        return graph.ops_of(_SEEDS.get(word, ()))
    return [op for op in graph.ops_of(_COORDINATES) if graph.operands[op][1] in graph.makers]


def leading_to(graph: TFLiteGraph, ops: Iterable[int]) -> set[str]:
    """Return the names of what ops make, and of all that leads to them from the dense ops before."""
    return {graph.name(tensor) for op in _reach(graph, ops, graph.before) for tensor in graph.results[op]}


def _reach(graph: TFLiteGraph, ops: Iterable[int], neighbors: Sequence[Sequence[int]]) -> set[int]:
    """Return the ops, and those that can be reached from them without passing a dense one."""
    found: set[int] = set()
    waiting = list(ops)
    while waiting:
        op = waiting.pop()
        if op not in found:
            found.add(op)
            waiting += [one for one in neighbors[op] if graph.kinds[one] not in DENSE]
    return found
