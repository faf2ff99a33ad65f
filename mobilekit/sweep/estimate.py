"""What a sweep will make and about how long that takes, said before it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from mobilekit.bench.bench import ROUNDS
from mobilekit.store.jsonable import Jsonable
from mobilekit.store.stages import FORM_STAGES
from mobilekit.sweep.cell import BENCH, DIFF, EXPORT, INSPECT, Cell
from mobilekit.sweep.folder import SweepFolder

_SECONDS = {EXPORT: 60.0, DIFF: 20.0, INSPECT: 5.0}
"""Of a step on one core, where none was measured: those of ghostnetv2 (docs/cost.md), a model of middling size."""
_START = 1.0
"""Seconds that a run of a file takes beside its inferences."""


@dataclass(frozen=True)
class Estimate(Jsonable):
    """The cells of a sweep that are missing, and the work in them."""

    cells: tuple[str, ...]
    exports: int
    steps: int
    workers: int
    seconds: float
    """About; with `workers` steps at once, and benches of this machine one after the other."""
    measured: bool
    """Whether steps that this sweep has run stand behind it."""


def estimate(cells: Sequence[Cell], folder: SweepFolder | None, workers: int) -> Estimate:
    """Return what cells are, how many steps they have, and about how long they take."""
    steps = {(cell.key_of(step), step): cell for cell in cells for step in cell.steps}
    measured = {kind: seconds for kind in (EXPORT, DIFF, INSPECT, BENCH) if (seconds := [*_measured(folder, kind)])}
    shared, alone = 0.0, 0.0
    for (_key, step), cell in steps.items():
        kind = step.partition(":")[0]
        taken = fmean(measured[kind]) if kind in measured else _bench(cell) if kind == BENCH else _SECONDS[kind]
        if kind == BENCH:
            alone += taken
        else:
            shared += taken
    return Estimate(
        cells=tuple(cell.label for cell in cells),
        exports=sum(step == EXPORT for _key, step in steps),
        steps=len(steps),
        workers=workers,
        seconds=shared / workers + alone,
        measured=bool(measured),
    )


def _measured(folder: SweepFolder | None, kind: str) -> Iterable[float]:
    """Yield what steps of a kind took that the sweep has run."""
    if folder is None:
        return
    for file in (folder.path / "steps").glob(f"*/{kind}*.json"):
        yield from _seconds_of(folder, file.parent.name, file.stem)


def _seconds_of(folder: SweepFolder, key: str, name: str) -> Iterator[float]:
    from mobilekit.sweep.folder import StepPlace

    found = StepPlace(folder.path / "steps" / key, name).read()
    if found is not None:
        yield float(found["seconds"])


def _bench(cell: Cell) -> float:
    """Return what a bench takes at most: a run of each file in each round."""
    files = sum(FORM_STAGES[form].file_format == "tflite" for form in cell.precisions)
    return float((cell.bench["rounds"] or ROUNDS) * files * (cell.bench["max_seconds"] + _START))
