"""Which ops of a file an int8 one leaves in float, by the words of a recipe's `keep_float`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from mobilekit.artifacts.tflite import TFLiteGraph

DENSE = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
_SEEDS = {
    "division": ("DIV",),
    "attention": ("BATCH_MATMUL", "SOFTMAX"),
    "normalization": ("RSQRT", "SQRT"),
    "exponential": ("EXP", "LOG", "CUMSUM"),
    "hard-swish": ("HARD_SWISH",),
}
_COORDINATES = ("GATHER", "GATHER_ND")
"""Where the places that they read are computed."""
_SUMS = ("SUM", "MEAN")
_BOTH_WAYS = ("normalization", "exponential", "coordinates")
"""Words under which what follows, up to the dense ops after, stays in float too."""
_ALONE = ("hard-swish", "residual-add")
"""Words under which ops stay in float by themselves, without what leads to them."""


class Ops(Protocol):
    """The ops of a file by their numbers."""

    @property
    def before(self) -> Sequence[Sequence[int]]:
        """Those that make what each takes."""

    @property
    def after(self) -> Sequence[Sequence[int]]:
        """Those that take what each makes."""

    def is_dense(self, op: int) -> bool:
        """Return whether an op multiplies by stored weights."""

    def seeds(self, word: str) -> Collection[int]:
        """Return the ops that a word of `keep_float` is about."""

    def maker_of_places(self, op: int) -> int:
        """Return the op that makes the places which a seed of `coordinates` reads at."""

    def softmaxes(self) -> Collection[int]:
        """Return the softmaxes."""

    def sums(self) -> Collection[int]:
        """Return the sums and means over axes."""


def ops_to_keep(ops: Ops, keep_float: Collection[str]) -> set[int]:
    """Return the ops that stay in float; `tensors_to_keep` says what the words mean."""
    kept = set[int]()
    for word in keep_float:
        seeds = set(ops.seeds(word))
        if word == "coordinates":
            seeds |= _weighted_means(ops)
        if word in _BOTH_WAYS:
            seeds |= reach(ops, seeds, forward=True)
        kept |= seeds if word in _ALONE else reach(ops, seeds)
    if "coordinates" in keep_float:
        places = reach(ops, map(ops.maker_of_places, ops.seeds("coordinates")))
        kept |= {dense for op in places for dense in (op, *ops.before[op]) if ops.is_dense(dense)}
    return kept


def _weighted_means(ops: Ops) -> set[int]:
    """Return the sums over a softmax's shares, alone or times constants: the mean of the places of a map."""
    found, waiting = set[int](), list(ops.softmaxes())
    while waiting:
        for op in ops.after[waiting.pop()]:
            if op not in found and len(set(ops.before[op])) == 1 and not ops.is_dense(op):
                found.add(op)
                waiting.append(op)
    return found.intersection(ops.sums())


def reach(ops: Ops, seeds: Iterable[int], forward: bool = False) -> set[int]:
    """Return ops and all that leads to them, or that they lead to, without passing a dense one."""
    neighbors = ops.after if forward else ops.before
    found, waiting = set[int](), list(seeds)
    while waiting:
        op = waiting.pop()
        if op not in found:
            found.add(op)
            waiting += [one for one in neighbors[op] if not ops.is_dense(one)]
    return found


def word_keeping(op: str) -> str | None:
    """Return the word of `keep_float` under which a TFLite op of this kind stays in float; None where none names it."""
    return next((word for word, ops in _SEEDS.items() if op in ops), None)


def tensors_to_keep(content: bytes, keep_float: Collection[str]) -> set[str]:
    """Return the names of the tensors that stay in float.

    A part that stays is an op and all that leads to it from the dense ops before; a normalization goes on from its
    square root to the dense ops after, and so do exponentials, logarithms and coordinates.

    Args:
        content: A float32 TFLite file.
        keep_float: `division`: an int8 denominator has 8 bits for all its values, and the small ones, which matter
            most, become 0. `attention`: products of computed matrices, and softmaxes, whose many small weights int8
            cannot tell from 0. `normalization`: their variances span more than 8 bits, and so do the sums before
            them. `exponential`: of 8 bits in, each is a multiple of the one before; logarithms and running sums
            likewise. `coordinates`: 8 bits are 256 places for a map to be read at; the dense ops that make them stay in
            float as well. So do means of places, weighted by a softmax: most of its shares of a map are below 2^-8.
            `hard-swish`: the results of HARD_SWISH alone, for which XNNPACK has no int8 kernel, so that each would end
            a partition. `residual-add`: the results of additions of two computed tensors alone, as residual blocks have
            them; in int8 each rounds again all that the blocks before it gave.
    """
    graph = TFLiteGraph(content)
    return _made_by(graph, ops_to_keep(_TFLiteOps(graph), keep_float))


def leading_to(graph: TFLiteGraph, ops: Iterable[int]) -> set[str]:
    """Return the names of what ops make, and of all that leads to them from the dense ops before."""
    return _made_by(graph, reach(_TFLiteOps(graph), ops))


def _made_by(graph: TFLiteGraph, ops: Iterable[int]) -> set[str]:
    return {graph.name(tensor) for op in ops for tensor in graph.results[op]}


class _TFLiteOps:
    def __init__(self, graph: TFLiteGraph) -> None:
        self.graph, self.before, self.after = graph, graph.before, graph.after

    def is_dense(self, op: int) -> bool:
        return self.graph.kinds[op] in DENSE

    def seeds(self, word: str) -> list[int]:
        graph = self.graph
        if word == "coordinates":
            return [op for op in graph.ops_of(_COORDINATES) if graph.operands[op][1] in graph.makers]
        if word == "residual-add":
            computed = set(graph.computed())
            return [op for op in graph.ops_of(("ADD",)) if computed.issuperset(graph.operands[op])]
        return graph.ops_of(_SEEDS[word])

    def maker_of_places(self, op: int) -> int:
        return self.graph.makers[self.graph.operands[op][1]]

    def softmaxes(self) -> list[int]:
        return self.graph.ops_of(("SOFTMAX",))

    def sums(self) -> list[int]:
        return self.graph.ops_of(_SUMS)
