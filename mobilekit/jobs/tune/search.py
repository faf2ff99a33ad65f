"""Decides, of measured ratios, which form of each group a recipe takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from mobilekit.bench.statistics import Verdict
from mobilekit.jobs.tune.forms import Form, Group
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.store.jsonable import ABSENT_IF_NONE

BASE = "base"
COMBINED = "all winners"
Progress = Callable[[str], None]
CountVerdict = Literal["fewer", "same", "more"]


@dataclass(frozen=True)
class Figure:
    """One recipe beside the base, or why there is no figure of it.

    A ratio is its own latency, or number of instructions, to the base's; one of instructions has no interval.
    """

    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    verdict: Verdict | CountVerdict | None = None
    """As `bench` has it; of instructions the latter."""
    median_ms: float | None = None
    why_not: str | None = None
    instructions: int | None = field(default=None, metadata=ABSENT_IF_NONE)

    @property
    def is_better(self) -> bool:
        """Whether its whole interval lies below 1, or its count below by more than the tolerance."""
        return self.verdict in ("faster", "fewer")


@dataclass(frozen=True)
class Words:
    """How the measuring is spoken of."""

    better: str = "faster"
    measurement: str = "bench"
    measurements: str = "benches"


COUNTED = Words("cheaper", "count", "counts")


Measure = Callable[[LoadedRecipe, Mapping[str, LoadedRecipe]], dict[str, Figure]]
"""Measures recipes beside a base, all in one bench; a figure for each name, the base's under `BASE`."""


@dataclass(frozen=True)
class Trial:
    """A form of a group, and what was measured of it."""

    group: str
    form: Form
    figure: Figure
    chosen: bool = False


@dataclass(frozen=True)
class Candidate:
    """A form that makes another graph than the base has."""

    group: Group
    form: Form

    @property
    def name(self) -> str:
        """Its name in a bench."""
        return f"{self.group.name}: {self.form.name}"


@dataclass(frozen=True)
class Outcome:
    """What was chosen, and of which figures."""

    recipe: LoadedRecipe
    chosen: tuple[Trial, ...]
    """The forms in which the recipe differs from the base; empty where it is the base."""
    trials: tuple[Trial, ...]
    """Each form alone, from the first bench."""
    base: Figure
    final: dict[str, Figure] = field(default_factory=dict)
    """The second bench, of what the first chose; empty where it chose nothing."""
    why: str = ""


def search(base: LoadedRecipe, candidates: Sequence[Candidate], measure: Measure, words: Words = Words()) -> Outcome:
    """Measure each form alone; put the best of each group together; and measure that again beside the base.

    A form wins its group where it is faster than the base, its whole interval below 1, and its ratio is the smallest
    of those. The second bench is of new rounds, so that the best of many by chance does not win: what it does not find
    faster than the base as well is not taken. If the best form alone is faster than all winners together, it is taken
    alone.

    Args:
        base: The recipe to beat.
        candidates: The forms, in any order.
        measure: Measures recipes.
        words: How the measuring is spoken of.
    """
    if not candidates:
        return Outcome(base, (), (), Figure(), why="no form makes another graph of this model")
    figures = measure(base, {each.name: each.group.applied_to(base, each.form) for each in candidates})
    trials = [Trial(each.group.name, each.form, figures[each.name]) for each in candidates]
    winners = _winners(candidates, trials)
    first = Outcome(base, (), tuple(trials), figures[BASE])
    if not winners:
        return replace(first, why=f"no form is {words.better} than the recipe's own beyond doubt")
    return _settle(first, winners, measure, words)


def _winners(candidates: Sequence[Candidate], trials: Sequence[Trial]) -> list[tuple[Candidate, Trial]]:
    """Return the fastest form of each group that has one, the fastest first."""
    best: dict[str, tuple[Candidate, Trial]] = {}
    faster = [pair for pair in zip(candidates, trials, strict=True) if pair[1].figure.is_better]
    for candidate, trial in sorted(faster, key=lambda pair: pair[1].figure.ratio or 0):
        best.setdefault(trial.group, (candidate, trial))
    return list(best.values())


def _settle(first: Outcome, winners: list[tuple[Candidate, Trial]], measure: Measure, words: Words) -> Outcome:
    """Measure the winners together, and the best alone, and choose."""
    base, (best, best_trial) = first.recipe, winners[0]
    together = base
    for candidate, _ in winners:
        together = candidate.group.applied_to(together, candidate.form)
    alone = best.group.applied_to(base, best.form)
    tried = {COMBINED: together, **({best.name: alone} if len(winners) > 1 else {})}
    final = measure(base, tried)
    options = {COMBINED: (together, [trial for _, trial in winners]), best.name: (alone, [best_trial])}
    faster = [name for name in tried if final[name].is_better]
    if not faster:
        return replace(first, final=final, why=f"the second {words.measurement} did not find it {words.better} again")
    name = min(faster, key=lambda each: final[each].ratio or 0)
    recipe, chosen = options[name]
    marked = tuple(replace(trial, chosen=trial in chosen) for trial in first.trials)
    return replace(
        first,
        recipe=recipe,
        chosen=tuple(trial for trial in marked if trial.chosen),
        trials=marked,
        final=final,
        why=f"{words.better} in both {words.measurements}",
    )
