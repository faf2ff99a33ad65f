"""Find, read and check the file of a sweep: all that is wrong with it is named at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilekit.bench.fleet.load import LoadedFleet, load_fleet
from mobilekit.errors import UsageError, nearest
from mobilekit.models.names import NO_WEIGHTS, PRETRAINED, check_name, file_spec, is_registered
from mobilekit.recipes import yaml_positions
from mobilekit.recipes.faults import Where, load_checked
from mobilekit.recipes.load import load_recipe
from mobilekit.store.stages import FORM_STAGES
from mobilekit.sweep.cell import FLEET, Cell
from mobilekit.sweep.content import with_content
from mobilekit.sweep.matrix import excluded_by, expand, with_axes_of
from mobilekit.sweep.schema import Axes, Sweep
from mobilekit.targets.catalogue import find_target

_HINT = "`mobilekit sweep schema` prints what a sweep may say."
_EXAMPLE = "docs/examples/sweep.yaml is one to start from."


@dataclass(frozen=True)
class LoadedSweep:
    """A checked sweep and its cells, with the content of the files that they name."""

    sweep: Sweep
    base: Path
    """The folder of its file, from which the paths in it go."""
    cells: tuple[Cell, ...]


def load_sweep(path: Path) -> LoadedSweep:
    """Read a sweep.

    Raises:
        UsageError: There is none, or it is wrong; the message has a line for each fault, with file and line.
    """
    sweep, where = load_checked(path, Sweep, "the sweep", hint=_HINT, example=_EXAMPLE)
    base = path.absolute().parent
    faults = dict.fromkeys(_faults(sweep, base, where))
    if faults:
        raise UsageError("\n".join(sorted(faults, key=_line_in)), _HINT)
    cells = expand(sweep)
    if not cells:
        raise UsageError(f"{where(('exclude',))}: the exclusions leave no cell.", "Take one of them away.")
    if faults := dict.fromkeys(_of_programs(sweep, cells, where)):
        raise UsageError(
            "\n".join(faults), "Make .pte files in a sweep of their own, and time them by `mobilekit bench`."
        )
    try:
        return LoadedSweep(sweep, base, with_content(cells, base))
    except OSError as error:
        raise UsageError(f"{path} names {error.filename}, which cannot be read: {error.strerror}.") from error


def _faults(sweep: Sweep, base: Path, where: Where) -> Iterator[str]:
    """Yield what is wrong with the values of a sweep whose keys and types are right."""
    fleet = None
    try:
        fleet = None if sweep.fleet is None else load_fleet(base / sweep.fleet)
    except UsageError as error:
        yield f"{where(('fleet',))}: {error.what}"
    yield from _of_axes(sweep.matrix, ("matrix",), base, where, fleet)
    for name in ("exclude", "include"):
        for index, entry in enumerate(getattr(sweep, name)):
            if not entry.model_fields_set:
                yield f"{where((name, index))}: the entry names no axis."
            yield from _of_axes(entry, (name, index), base, where, fleet)
    for index, entry in enumerate(sweep.exclude):
        if entry.precisions and entry.targets:
            yield f"{where(('exclude', index))}: it names precisions and targets; write one exclusion for each."
        elif entry.model_fields_set and not excluded_by(entry, sweep):
            yield f"{where(('exclude', index))}: it excludes nothing of the matrix."
    for axes, place in _named_axes(sweep):
        yield from _of_options(axes, with_axes_of(axes, sweep.matrix), place, where)
    models = {model for axes in _all_axes(sweep) for model in axes.models or ()}
    for model, weights in sweep.weights.items():
        if model not in models:
            yield f"{where(('weights', model))}: the sweep has no model {model}. {nearest(model, models)}"
        if Path(weights) not in (NO_WEIGHTS, PRETRAINED) and not (base / weights).is_file():
            yield f"{where(('weights', model))}: there is no weights file {base / weights}."
    for name in ("calibration", "inputs"):
        given = getattr(sweep, name)
        if given is not None and not (base / given).exists():
            yield f"{where((name,))}: there is no file or folder {base / given}."


def _of_programs(sweep: Sweep, cells: Iterable[Cell], where: Where) -> Iterator[str]:
    """Yield what a sweep cannot do with files for ExecuTorch: it times none, and no target reads one."""
    for cell in cells:
        programs = [form for form in cell.precisions if FORM_STAGES[form].file_format == "pte"]
        if not programs:
            continue
        named = (place for axes, place in _named_axes(sweep) if {*programs} & {*(axes.precisions or ())})
        place = where((*next(named, ()), "precisions"))
        if cell.device:
            yield f"{place}: {', '.join(programs)}: a sweep does not time .pte files, and the device is {cell.device}."
        if cell.targets and len(programs) == len(cell.precisions):
            yield f"{place}: {', '.join(programs)}: no target reads .pte files, and {', '.join(cell.targets)} is asked."


def _line_in(fault: str) -> int:
    """Return the line that a fault names first."""
    found = re.search(r":(\d+): ", fault)
    return int(found[1]) if found else 0


def _all_axes(sweep: Sweep) -> Iterator[Axes]:
    yield sweep.matrix
    yield from (with_axes_of(entry, sweep.matrix) for entry in sweep.include)


def _of_axes(
    axes: Axes, place: yaml_positions.Path, base: Path, where: Where, fleet: LoadedFleet | None
) -> Iterator[str]:
    checks: dict[str, Callable[[Any], object]] = {
        "models": lambda model: check_name(model_in(base, model)),
        "recipes": lambda recipe: load_recipe(recipe_in(base, recipe)),
        "targets": find_target,
        "devices": lambda device: _check_device(device, fleet),
    }
    for name in axes.model_fields_set:
        values: tuple[Any, ...] = getattr(axes, name) or ()
        for index, value in enumerate(values):
            if value in values[:index]:
                yield f"{where((*place, name, index))}: {value} stands twice."
            try:
                checks.get(name, lambda _value: None)(value)
            except UsageError as error:
                hint = error.hint if error.hint.startswith(("Did you mean", "Known:")) else ""
                yield f"{where((*place, name, index))}: {error.what} {hint}".rstrip()


def _named_axes(sweep: Sweep) -> Iterator[tuple[Axes, yaml_positions.Path]]:
    yield sweep.matrix, ("matrix",)
    yield from ((axes, ("include", index)) for index, axes in enumerate(sweep.include))


def _of_options(axes: Axes, whole: Axes, place: yaml_positions.Path, where: Where) -> Iterator[str]:
    """Yield which options a reference model does not take; other models are known to their libraries alone."""
    if not axes.model_options:
        return
    from mobilekit.models.registry import find_model  # builds nets of torch

    for model in filter(is_registered, whole.models or ()):
        for index, options in enumerate(axes.model_options):
            try:
                find_model(model).create(**options)
            except UsageError as error:
                yield f"{where((*place, 'model_options', index))}: {error.what} {error.hint}".rstrip()


def _check_device(word: str, fleet: LoadedFleet | None) -> None:
    """Refuse what names no device, or more than one.

    Raises:
        UsageError: It is such a word.
    """
    if word.startswith(FLEET):
        if fleet is None:
            raise UsageError(f"{word} is a phone of a fleet, and the sweep names none.", "Add fleet: fleet.yaml.")
        fleet.named(word)
        return
    kinds = ("local", "adb", "phone:MODEL", "replay:DIR", "label:LABEL", "serial:SERIAL")
    name, colon, rest = word.partition(":")
    if (name not in ("local", "adb", "phone", "replay") or bool(colon) != bool(rest)) or (
        (name == "local" and rest) or (name in ("phone", "replay") and not rest)
    ):
        raise UsageError(f"There is no device {word!r} for a sweep.", f"Known: {', '.join(kinds)}.")
    if rest == "all":
        raise UsageError(f"{word} is several devices.", "Name each: adb:SERIAL.")


def model_in(base: Path, model: str) -> str:
    """Return a model's name with the path of its FILE.py from a folder on."""
    code = file_spec(model)
    return f"{base / code[0]}:{code[1]}" if code else model


def recipe_in(base: Path, recipe: str) -> str:
    """Return a recipe's name, or the path of its file from a folder on."""
    return str(base / recipe) if recipe.endswith((".yaml", ".yml")) else recipe
