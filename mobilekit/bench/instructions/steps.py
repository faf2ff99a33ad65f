"""The steps of an inference: XNNPACK's operators, TFLite's own ops between them, and what is neither."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Literal

from mobilekit.bench.instructions.decode import classify, moved_bytes
from mobilekit.bench.instructions.kernels import COPY, NOTHING, ops_run_by, short_name
from mobilekit.bench.instructions.library import Library, builtin_op
from mobilekit.bench.instructions.record import CacheMisses, Piece, Segment
from mobilekit.errors import ToolError

StepKind = Literal["operator", "builtin", "runtime"]
NameOf = Callable[[int], str]
"""Gives the function, or else the library, that an address of the process belongs to."""


@dataclass(frozen=True)
class Work:
    """What ran in a step."""

    classes: Mapping[str, int]
    """Instructions of each class."""
    functions: Mapping[str, int]
    """Instructions of each function; of a library without names, all of it."""
    loaded_bytes: int
    stored_bytes: int
    misses: CacheMisses | None = field(default=None, compare=False)
    """They depend on where in the memory a process's maps lie, and so differ a little from run to run."""

    @property
    def instructions(self) -> int:
        """All of them."""
        return sum(self.classes.values())


@dataclass(frozen=True)
class Step:
    """One step, in the order in which they ran."""

    kind: StepKind
    kernel: str
    """`f32_gemm_6x8`; of TFLite's own ops `transpose`."""
    function: str
    """The kernel's own name."""
    partition: int | None
    """Which part of the graph that XNNPACK runs; None outside."""
    work: Work


def read_steps(
    segments: Sequence[Segment], pieces: Mapping[int, Piece], library: Library, name_of: NameOf
) -> list[Step]:
    """Return the steps of one inference; all that is neither operator nor op is one step at the end."""
    steps: list[Step] = []
    rest: list[Segment] = []
    partition, is_inside = -1, False
    for segment in segments:
        kind = library.kind_of_stop(segment.stop)
        work = work_of([segment], pieces, name_of)
        if kind == "operator":
            partition += not is_inside
            is_inside = True
            steps.append(Step("operator", *_kernel(work), partition, work))
            continue
        is_inside = is_inside and kind != "node"
        if op := _own_op(work):
            steps.append(Step("builtin", *op, None, work))
        else:
            rest.append(segment)
    return [*steps, Step("runtime", "runtime", "", None, work_of(rest, pieces, name_of))]


def work_of(segments: Sequence[Segment], pieces: Mapping[int, Piece], name_of: NameOf) -> Work:
    """Return what ran in some segments."""
    classes: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    loaded = stored = 0
    for segment in segments:
        for number, times in segment.runs.items():
            piece = pieces[number]
            functions[name_of(piece.address)] += times * len(piece.words)
            for word in piece.words:
                name = classify(word)
                classes[name] += times
                if name == "load":
                    loaded += times * moved_bytes(word)
                elif name == "store":
                    stored += times * moved_bytes(word)
    misses = [segment.misses for segment in segments if segment.misses]
    return Work(dict(classes), dict(functions), loaded, stored, reduce(add, misses) if misses else None)


def _kernel(work: Work) -> tuple[str, str]:
    """Return the short and the full name of an operator's kernel: the one that most of its instructions are in.

    One that is no part of an op, as what rounds or packs a layer's input, gives way to any that is.
    """
    kernels = {
        function: (bool(ops_run_by(name)), work.functions[function], name)
        for function in work.functions
        if (name := short_name(function))
    }
    if not kernels:
        function = max(work.functions, key=work.functions.__getitem__)
        return COPY if function.startswith("libc.") else NOTHING, function
    function = max(kernels, key=lambda each: kernels[each][:2])
    return kernels[function][2], function


def _own_op(work: Work) -> tuple[str, str] | None:
    ops = {function: count for function, count in work.functions.items() if builtin_op(function)}
    if not ops:
        return None
    function = max(ops, key=ops.__getitem__)
    return builtin_op(function) or function, function


def agreed(inferences: Sequence[Sequence[Step]]) -> list[Step]:
    """Return the steps that all inferences have alike.

    What differs is the last one's: what the runtime does around the steps, and the misses of caches, which the
    inferences before have filled.

    Raises:
        ToolError: They differ in a step, so that a count would be chance.
    """
    *others, last = inferences
    for other in others:
        differences = list(_differences(other, last))
        if differences:
            more = f", and {len(differences) - 3} more" if len(differences) > 3 else ""
            raise ToolError(
                f"Two inferences did not run the same instructions: {'; '.join(differences[:3])}{more}.",
                "Count again. If it stays so, the file has an op whose work depends on chance.",
            )
    return list(last)


def _differences(first: Sequence[Step], other: Sequence[Step]) -> Iterator[str]:
    mine, theirs = ([step for step in steps if step.kind != "runtime"] for steps in (first, other))
    if len(mine) != len(theirs):
        yield f"{len(mine)} steps, then {len(theirs)}"
        return
    for place, (one, two) in enumerate(zip(mine, theirs, strict=True)):
        if one != two:
            was, now = one.work.instructions, two.work.instructions
            yield f"step {place}, {one.kernel}: {was} instructions, then {now}" + (
                f" of {two.kernel}" if two.kernel != one.kernel else ""
            )
