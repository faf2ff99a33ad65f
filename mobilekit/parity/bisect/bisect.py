"""Finds the ops of a candidate that do something else than the reference, and the module that they stand for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import dropwhile

import numpy as np

from mobilekit.parity.bisect.layouts import layouts_between
from mobilekit.parity.bisect.regions import Island, Islands, Match
from mobilekit.parity.bisect.steps import Values

Progress = Callable[[str], None]

# A faulty island and what confirms its end have a few ops each, as the islands that are right have.
_OPS_OF_A_FAULT = 12
_OPS_TO_CONFIRM = 8
MOST_FAULTS = 8
"""How many faults are looked for."""


@dataclass(frozen=True)
class Fault:
    """An island whose result is not the reference's, given the same values before both."""

    tensor: str
    match: Match | None
    """The step that the tensor stands for; None where no step ahead has as many values."""
    island: Island
    steps: tuple[str, ...]
    """The reference's steps from the borders to that one."""
    modules: tuple[str, ...]
    """The modules of these steps."""
    error: float
    """Relative L2 error of the tensor, in the candidate's own run, from what the reference makes of the values that
    the candidate had at the borders."""
    limit: float
    is_anchored: bool = True
    """Whether what follows agrees with the reference again, so that the end of the island is known."""
    is_missing: bool = False
    """Whether the ops are right, and the steps after them are done by none."""


@dataclass(frozen=True)
class Findings:
    """What a bisection found."""

    faults: tuple[Fault, ...]
    """In the order in which the candidate runs."""
    known: int
    """Number of the candidate's tensors that stand for a step."""
    of: int
    """Number of its tensors."""


def bisect(islands: Islands, progress: Progress = lambda _message: None) -> Findings:
    """Return the faults of a candidate.

    Args:
        islands: The candidate and the reference; what is found becomes known in it.
        progress: Is told what goes on.
    """
    faults: list[Fault] = []
    start = 0
    while len(faults) < MOST_FAULTS:
        _match_from(islands, start, progress)
        start_of_fault = _first_unexplained(islands)
        if start_of_fault is None:
            break
        progress(f"looking at op {start_of_fault}: {islands.op(start_of_fault).kind}")
        fault = _fault_at(islands, start_of_fault)
        faults.append(fault)
        if fault.match is None or not fault.is_anchored:
            break
        islands.known[fault.tensor] = fault.match
        start = start_of_fault
    tensors = [tensor for op in islands.candidate.ops for tensor in op.outputs]
    return Findings(tuple(faults), sum(tensor in islands.known for tensor in tensors), len(tensors))


def _match_from(islands: Islands, start: int, progress: Progress) -> None:
    """Find the steps of all tensors from an op on that are near what is known."""
    ops = islands.candidate.ops
    for place in range(start, len(ops)):
        progress(f"aligning op {place} of {len(ops)}")
        for tensor in ops[place].outputs:
            if tensor not in islands.known and len(islands.island(tensor).ops) <= _OPS_OF_A_FAULT:
                match = islands.find(tensor)
                if match:
                    islands.known[tensor] = match


def _first_unexplained(islands: Islands) -> int | None:
    """Return the first op whose results are unknown, lead to an output, and to nothing that is known."""
    ops, known = islands.candidate.ops, islands.known
    explained: set[str] = set()
    for op in reversed(ops):
        if any(tensor in known or tensor in explained for tensor in op.outputs):
            explained.update(op.inputs)
    leading = set(islands.candidate.outputs)
    for op in reversed(ops):
        if any(tensor in leading for tensor in op.outputs):
            leading.update(op.inputs)
    for place, op in enumerate(ops):
        told = any(tensor in known or tensor in explained for tensor in op.outputs)
        if not told and any(tensor in leading for tensor in op.outputs):
            return place
    return None


def _fault_at(islands: Islands, place: int) -> Fault:
    """Return the smallest island from an op on after which the candidate agrees with the reference again."""
    made = islands.op(place).outputs[0]
    if not np.isfinite(islands.candidate.values[made]).all():  # nothing after it can agree
        return _unanchored(islands, place)
    taken = islands.island(made)
    for tensor in filter(islands.makers.__contains__, taken.borders):  # a step may be missing after one of them
        done = islands.known[tensor].step
        before = islands.values_at(islands.island(tensor, _without(islands, tensor)))
        for match in _candidates(islands, tensor, {**before, done: None}):
            if _changes(islands, tensor, before, match.step) and _is_confirmed(islands, tensor, match):
                return _fault(islands, tensor, match, after=done)
    for tensor in _following(islands, place):
        confirmed = [
            _fault(islands, tensor, match)
            for match in _candidates(islands, tensor, islands.values_at(islands.island(tensor)))
            if _is_output(islands, tensor, match) or _is_confirmed(islands, tensor, match)
        ]
        if confirmed:  # what follows may take it for a sum as well as for the ReLU of it
            return min(confirmed, key=lambda fault: fault.error)
    return _unanchored(islands, place)


def _changes(islands: Islands, tensor: str, before: Values, step: str) -> bool:
    """Return whether a step does more than order the axes of what a right tensor holds: else that is there already."""
    return islands.is_new(tensor, islands.yardstick.replay(before).exact(step))


def _following(islands: Islands, place: int) -> Iterator[str]:
    """Yield the unknown tensors that an op and those after it make, the nearest first."""
    waiting, seen = [place], {place}
    while waiting and len(seen) <= _OPS_OF_A_FAULT:
        now = waiting.pop(0)
        for tensor in islands.op(now).outputs:
            if tensor not in islands.known:
                yield tensor
                new = [one for one in islands.readers.get(tensor, []) if one not in seen]
                seen.update(new)
                waiting = sorted([*waiting, *new])


def _candidates(islands: Islands, tensor: str, given: dict[str, object]) -> Iterator[Match]:
    """Yield the next steps that have as many values as a tensor."""
    shape = islands.candidate.values[tensor].shape
    for step in islands.ahead(given):
        for layout in layouts_between(islands.shapes[step], shape):
            yield Match(step, layout)


def _is_output(islands: Islands, tensor: str, match: Match) -> bool:
    """Return whether tensor and step are the same output of both, with nothing after them that could tell more."""
    pairs = zip(islands.candidate.outputs, islands.reference.outputs, strict=False)
    return (tensor, match.step) in pairs and not islands.readers.get(tensor)


def _is_confirmed(islands: Islands, tensor: str, match: Match) -> bool:
    """Return whether something new after the tensor agrees with the reference, if the tensor is taken for the step."""
    known = {**islands.known, tensor: match}
    value = match.layout.to_reference(islands.candidate.values[tensor])
    waiting = sorted(islands.readers.get(tensor, []))
    seen = set(waiting)
    while waiting and len(seen) <= _OPS_TO_CONFIRM:
        place = waiting.pop(0)
        for made in islands.op(place).outputs:
            if made in islands.known:
                continue
            if islands.is_new(made, value) and _agrees(islands, made, known, tensor):
                return True
            new = [one for one in islands.readers.get(made, []) if one not in seen]
            seen.update(new)
            waiting = sorted([*waiting, *new])
    return False


def _agrees(islands: Islands, made: str, known: dict[str, Match], tensor: str) -> bool:
    return tensor in islands.island(made, known).borders and islands.find(made, known) is not None


def _fault(islands: Islands, tensor: str, match: Match, after: str | None = None, is_anchored: bool = True) -> Fault:
    island = islands.island(tensor, _without(islands, tensor))
    given = islands.values_at(island)
    steps = islands.reference.between(given, match.step)
    if after in steps:
        steps = steps[steps.index(after) + 1 :]
    elif after is None:
        steps = _without_moves(islands, island, steps)
    modules = tuple(dict.fromkeys(islands.reference.module(step) for step in steps))
    error, limit = islands.error(tensor, match)
    return Fault(tensor, match, island, tuple(steps), modules, error, limit, is_anchored, is_missing=after is not None)


def _without(islands: Islands, tensor: str) -> dict[str, Match]:
    return {name: match for name, match in islands.known.items() if name != tensor}


def _without_moves(islands: Islands, island: Island, steps: list[str]) -> list[str]:
    """Leave out the first steps where they only move values of the borders, which those have in them already."""
    replay = islands.yardstick.replay(islands.values_at(island))

    def moves(step: str) -> bool:
        return step in islands.shapes and any(
            not islands.is_new(border, replay.exact(step)) for border in island.borders
        )

    return [*dropwhile(moves, steps[:-1]), steps[-1]]


def _unanchored(islands: Islands, place: int) -> Fault:
    """Return a fault whose end nothing confirms: from the op to the nearest step of as many values."""
    for tensor in _following(islands, place):
        for match in _candidates(islands, tensor, islands.values_at(islands.island(tensor))):
            return _fault(islands, tensor, match, is_anchored=False)
    tensor = islands.op(place).outputs[0]
    island = islands.island(tensor)
    given = islands.values_at(island)
    reads = islands.reference.reads
    steps = tuple(name for name in islands.reference.names if any(source in given for source in reads[name]))
    modules = tuple(islands.reference.module(step) for step in steps)
    return Fault(tensor, None, island, steps, modules, math.inf, islands.yardstick.floor, is_anchored=False)
