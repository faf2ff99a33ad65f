"""Which step of a reference each tensor of a candidate stands for, found island by island.

Names do not survive a conversion, and noise adds up with depth. So each tensor is compared with what the reference
makes of the very values that the candidate had before it: from the tensors before it that are known already, its
borders, the reference's next steps are computed, and the first of the same values, in either layout, is the one. What
differs then differs by what the ops between the borders and the tensor did, the island, and by nothing before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from mobilekit.parity.bisect.layouts import Floats, Layout, distance, layouts_between
from mobilekit.parity.bisect.observed import Observed, Op
from mobilekit.parity.bisect.steps import Values
from mobilekit.parity.bisect.tolerance import Yardstick

# An island has a few ops and stands for a few steps: a layer with its activation, a decomposed function.
_STEPS_AHEAD = 40
_MOVES = {"CAST", "DEQUANTIZE", "EXPAND_DIMS", "QUANTIZE", "RESHAPE", "SQUEEZE", "TRANSPOSE"}
_MOVES |= {"Cast", "DequantizeLinear", "Flatten", "Identity", "QuantizeLinear", "Reshape", "Squeeze", "Transpose"}


@dataclass(frozen=True)
class Match:
    """The step that a tensor stands for, and the layout that its values have in it."""

    step: str
    layout: Layout


@dataclass(frozen=True)
class Island:
    """What lies between a tensor and the tensors before it that are known."""

    borders: Mapping[str, Match]
    ops: tuple[int, ...]
    """Places in `Observed.ops`, in order."""


class Islands:
    """The known part of a candidate, which grows from its inputs.

    Args:
        candidate: The candidate after a run.
        yardstick: Tells how far a tensor may be off.
    """

    def __init__(self, candidate: Observed, yardstick: Yardstick) -> None:
        self.reference, self.candidate, self.yardstick = yardstick.exact, candidate, yardstick
        self.shapes = self.reference.shapes
        self.makers = {tensor: place for place, op in enumerate(candidate.ops) for tensor in op.outputs}
        self.readers: dict[str, list[int]] = {}
        for place, op in enumerate(candidate.ops):
            for tensor in op.inputs:
                self.readers.setdefault(tensor, []).append(place)
        self._place = {name: place for place, name in enumerate(self.reference.names)}
        self.known: dict[str, Match] = {}
        for name, tensor in candidate.inputs.items():
            step = self.reference.inputs[name]
            layout = layouts_between(self.shapes[step], candidate.values[tensor].shape)[0]
            self.known[tensor] = Match(step, layout)

    def island(self, tensor: str, known: Mapping[str, Match] | None = None) -> Island:
        """Return the ops that make a tensor of the known ones before it; the tensor itself counts as unknown."""
        known = self.known if known is None else known
        borders: dict[str, Match] = {}
        ops: set[int] = set()
        waiting = [self.makers[tensor]]
        while waiting:
            place = waiting.pop(0)
            if place in ops:
                continue
            ops.add(place)
            for source in self.candidate.ops[place].inputs:
                if source in known:
                    borders[source] = known[source]
                else:
                    waiting.append(self.makers[source])
        return Island(borders, tuple(sorted(ops)))

    def values_at(self, island: Island) -> Values:
        """Return the candidate's values at an island's borders as values of the reference's steps."""
        values: Values = {}
        for tensor, match in island.borders.items():  # the nearest first
            array = match.layout.to_reference(self.candidate.values[tensor])
            values.setdefault(match.step, self.reference.value(match.step, array))
        return values

    def find(self, tensor: str, known: Mapping[str, Match] | None = None) -> Match | None:
        """Return the first step whose values a tensor has, within what its format may lose; None without one."""
        island = self.island(tensor, known)
        value, given = self.candidate.values[tensor], self.values_at(island)
        replay = self.yardstick.replay(given, len(island.ops))
        step_size = self.candidate.steps.get(tensor, 0.0)
        # An op that moves or converts values makes no new ones; any other most likely does, however small the change.
        moves = all(self.op(place).kind in _MOVES for place in island.ops)
        for step in chain(given, self.ahead(given)) if moves else chain(self.ahead(given), given):
            for layout in layouts_between(self.shapes.get(step, ()), value.shape):
                seen = layout.to_reference(value)
                if replay.limit(step, step_size) >= distance(replay.exact(step), seen):
                    return Match(step, layout)
        return None

    def ahead(self, given: Mapping[str, object]) -> Iterator[str]:
        """Yield the next steps that the given ones decide, and that need the last of these."""
        last = max(given, key=self._place.__getitem__)
        known, touched, yielded = set(given), {last}, 0
        first = min(map(self._place.__getitem__, given))
        for step in self.reference.names[first:]:
            reads = self.reference.reads[step]
            if step in known or not reads or not all(source in known for source in reads):
                continue
            known.add(step)
            if any(source in touched for source in reads):
                touched.add(step)
                yielded += 1
                if yielded > _STEPS_AHEAD:
                    return
                if step in self.shapes:
                    yield step

    def error(self, tensor: str, match: Match) -> tuple[float, float]:
        """Return how far a tensor is from a step of the values at its borders, and how far it may be."""
        island = self.island(tensor, {name: one for name, one in self.known.items() if name != tensor})
        replay = self.yardstick.replay(self.values_at(island), len(island.ops))
        seen = match.layout.to_reference(self.candidate.values[tensor])
        limit = replay.limit(match.step, self.candidate.steps.get(tensor, 0.0))
        return distance(replay.exact(match.step), seen), limit

    def is_new(self, tensor: str, value: Floats) -> bool:
        """Return whether a tensor has other values than the given one, in any layout."""
        own = self.candidate.values[tensor]
        return own.size != value.size or all(
            distance(layout.to_candidate(value), own) > self.yardstick.floor
            for layout in layouts_between(value.shape, own.shape)
        )

    def op(self, place: int) -> Op:
        """Return an op by its place."""
        return self.candidate.ops[place]
