"""From the axes of a sweep to its cells."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from mobilekit.store.stages import DEFAULT_PRECISIONS, FORM_STAGES
from mobilekit.sweep.cell import FLEET, Cell
from mobilekit.sweep.schema import Axes, Size, Sweep

_AXES = ("models", "model_options", "input_sizes", "recipes", "devices", "threads")
"""Each value of these is another cell; the precisions and targets of a combination are those of one cell."""


@dataclass(frozen=True)
class Point:
    """A value of each axis that tells cells apart."""

    model: str
    model_options: str
    """As JSON with sorted keys: equal options are equal."""
    input_size: Size | None
    recipe: str | None
    device: str | None
    threads: int


@dataclass(frozen=True)
class Files:
    """What one cell makes, and who is asked about it."""

    precisions: frozenset[str]
    targets: tuple[str, ...]


def expand(sweep: Sweep) -> tuple[Cell, ...]:
    """Return the cells of a sweep in the order of its axes, each once.

    First the whole matrix, then what `exclude` leaves of it, then what `include` adds.
    """
    found: dict[Point, Files] = {}
    for point, files in _points(sweep.matrix):
        left = _left(point, files, sweep.exclude)
        if left:
            found[point] = left
    for more in sweep.include:
        for point, files in _points(with_axes_of(more, sweep.matrix)):
            found[point] = _joined(found.get(point), files)
    return tuple(_cell(point, files, sweep) for point, files in found.items())


def excluded_by(entry: Axes, sweep: Sweep) -> bool:
    """Return whether an exclusion takes away anything of the matrix."""
    return any(_left(point, files, [entry]) != files for point, files in _points(sweep.matrix))


def with_axes_of(axes: Axes, matrix: Axes) -> Axes:
    """Return axes with those of a matrix where they name none."""
    return Axes.model_validate({**matrix.model_dump(), **axes.model_dump(exclude_none=True)})


def _points(axes: Axes) -> Iterator[tuple[Point, Files]]:
    """Yield each combination of the axes, with the files of its cell."""
    files = Files(frozenset(axes.precisions or DEFAULT_PRECISIONS), _once(axes.targets or ()))
    for values in product(*(_values(axes, name) for name in _AXES)):
        yield Point(*values), files


def _values(axes: Axes, name: str) -> tuple[Any, ...]:
    values: tuple[Any, ...] | None = getattr(axes, name)
    if name == "model_options":
        return tuple(map(_as_key, values or ({},)))
    if name == "input_sizes":
        return tuple(map(_sides, values or (None,)))
    return values or ((1,) if name == "threads" else (None,))


def _as_key(options: dict[str, Any]) -> str:
    return json.dumps(options, sort_keys=True)


def _sides(size: Size | None) -> Size | None:
    """Return a size, as one number where its sides are equal."""
    return size[0] if isinstance(size, tuple) and size[0] == size[1] else size


def _left(point: Point, files: Files, exclude: Iterable[Axes]) -> Files | None:
    """Return what exclusions leave of a cell; None: nothing."""
    for entry in exclude:
        if not all(value in _values(entry, name) for name, value in _named(point) if getattr(entry, name)):
            continue
        if entry.precisions:
            files = replace(files, precisions=files.precisions - set(entry.precisions))
        elif entry.targets:
            files = replace(files, targets=tuple(each for each in files.targets if each not in entry.targets))
        if not files.precisions or not (entry.precisions or entry.targets):
            return None
    return files


def _named(point: Point) -> Iterator[tuple[str, Any]]:
    return zip(_AXES, vars(point).values(), strict=True)


def _joined(files: Files | None, more: Files) -> Files:
    if files is None:
        return more
    return Files(files.precisions | more.precisions, _once((*files.targets, *more.targets)))


def _once(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _cell(point: Point, files: Files, sweep: Sweep) -> Cell:
    content = {**vars(point), "model_options": json.loads(point.model_options)}
    return Cell(
        **content,
        precisions=tuple(form for form in FORM_STAGES if form in files.precisions),
        targets=files.targets,
        weights=sweep.weights.get(point.model),
        calibration=sweep.calibration,
        inputs=sweep.inputs,
        diff=sweep.diff,
        bench=_bench(point.device, sweep),
    )


def _bench(device: str | None, sweep: Sweep) -> dict[str, Any]:
    """Return how files are timed on a device; with the fleet where that has it, as others do without."""
    if device is None:
        return {}
    fleet = {"fleet": sweep.fleet} if device.startswith(FLEET) else {}
    return {**sweep.bench.model_dump(), **fleet}
