"""From the axes of a sweep to its cells."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mobilekit.store.stages import DEFAULT_PRECISIONS, FORM_STAGES
from mobilekit.sweep.cell import Cell
from mobilekit.sweep.matrix import expand
from mobilekit.sweep.schema import Sweep

VALUES: dict[str, list[Any]] = {
    "models": ["ghostnet", "ghostnetv2", "shufflenet"],
    "model_options": [{"width": 1.3}, {"width": 0.5, "num_classes": 10}],
    "input_sizes": [160, 224, (192, 256)],
    "recipes": ["default", "ghostnet"],
    "precisions": ["float32", "int8", "onnx-int8"],
    "targets": ["cpu", "gpu"],
    "devices": ["local", "adb:ABC"],
    "threads": [1, 4],
}
ABSENT: dict[str, list[Any]] = {
    "model_options": [{}],
    "input_sizes": [None],
    "recipes": [None],
    "precisions": [*DEFAULT_PRECISIONS],
    "targets": [None],
    "devices": [None],
    "threads": [1],
}


def subsets(name: str) -> st.SearchStrategy[list[Any]]:
    values = VALUES[name]
    return st.lists(st.sampled_from(range(len(values))), min_size=1, unique=True).map(
        lambda places: [values[place] for place in places]
    )


def axes(*always: str, never: tuple[str, ...] = ()) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {name: subsets(name) for name in always},
        optional={name: subsets(name) for name in VALUES if name not in (*always, *never)},
    )


MATRICES = axes("models")
EXCLUSIONS = st.one_of(axes(never=("targets",)), axes(never=("precisions",))).filter(bool)


def combinations(named: dict[str, Any]) -> set[tuple[str, ...]]:
    """Return each combination of the axes, value by value as JSON: what a sweep is about, without its cells."""
    chosen = [named.get(name, ABSENT.get(name)) for name in VALUES]
    return {tuple(json.dumps(each, sort_keys=True) for each in values) for values in product(*map(list, chosen))}


def of_cells(cells: tuple[Cell, ...]) -> set[tuple[str, ...]]:
    """Return the same of cells."""
    found: set[tuple[str, ...]] = set()
    for cell in cells:
        one = {
            "models": [cell.model],
            "model_options": [cell.model_options],
            "input_sizes": [cell.input_size],
            "recipes": [cell.recipe],
            "precisions": cell.precisions,
            "targets": cell.targets or [None],
            "devices": [cell.device],
            "threads": [cell.threads],
        }
        found |= combinations(one)
    return found


@given(MATRICES)
def test_a_matrix_has_each_combination_once(matrix: dict[str, Any]) -> None:
    cells = expand(Sweep.model_validate({"matrix": matrix}))
    assert of_cells(cells) == combinations(matrix)
    assert len({cell.key for cell in cells}) == len(cells)
    each = len(matrix.get("precisions", DEFAULT_PRECISIONS)) * len(matrix.get("targets", [None]))
    assert len(cells) * each == len(combinations(matrix))


def without_targets(found: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Return combinations with nobody asked: a cell whose targets are all excluded is left, and asks nobody."""
    place = list(VALUES).index("targets")
    return {(*each[:place], "null", *each[place + 1 :]) for each in found}


@given(MATRICES, EXCLUSIONS)
def test_an_exclusion_takes_what_it_names_and_nothing_else(matrix: dict[str, Any], named: dict[str, Any]) -> None:
    cells = expand(Sweep.model_validate({"matrix": matrix, "exclude": [named]}))
    values = {name: [json.dumps(each) for each in listed] for name, listed in named.items()}
    values = {name: [json.dumps(each, sort_keys=True) for each in listed] for name, listed in named.items()}
    left = {
        each
        for each in combinations(matrix)
        if not all(value in values[name] for name, value in zip(VALUES, each, strict=True) if name in values)
    }
    asked = {each for each in of_cells(cells) if json.loads(each[list(VALUES).index("targets")]) is not None}
    if "targets" in matrix:
        assert asked == left
    if "targets" not in named:
        assert without_targets(of_cells(cells)) == without_targets(left)


@given(MATRICES, axes().filter(bool), EXCLUSIONS)
def test_an_inclusion_adds_its_own_matrix_whatever_is_excluded(
    matrix: dict[str, Any], more: dict[str, Any], named: dict[str, Any]
) -> None:
    cells = expand(Sweep.model_validate({"matrix": matrix, "include": [more], "exclude": [named]}))
    added = expand(Sweep.model_validate({"matrix": {**matrix, **more}}))
    points = {
        (cell.model, str(cell.model_options), cell.input_size, cell.recipe, cell.device, cell.threads): cell
        for cell in cells
    }
    for cell in added:
        there = points[cell.model, str(cell.model_options), cell.input_size, cell.recipe, cell.device, cell.threads]
        assert set(cell.precisions) <= set(there.precisions)
        assert set(cell.targets) <= set(there.targets)


@given(MATRICES)
def test_a_cell_is_json_and_back(matrix: dict[str, Any]) -> None:
    for cell in expand(Sweep.model_validate({"matrix": matrix})):
        assert Cell.from_json(json.loads(json.dumps(cell.to_json()))) == cell
        assert list(cell.precisions) == sorted(cell.precisions, key=list(FORM_STAGES).index)


def cell(**more: Any) -> Cell:
    return Cell("ghostnet", precisions=("float32", "int8"), **more)


def test_cells_that_differ_in_device_and_threads_share_their_export() -> None:
    one, other = cell(device="local", targets=("cpu",)), cell(device="local", targets=("cpu",), threads=4)
    assert one.steps == ("export", "diff", "inspect:cpu", "bench")
    assert [one.key_of(step) == other.key_of(step) for step in one.steps] == [True, True, True, False]
    assert one.bundle == other.bundle
    assert cell(input_size=160).bundle != cell(input_size=224).bundle


def test_only_files_that_a_device_runs_are_timed() -> None:
    assert cell().steps == ("export", "diff")
    assert Cell("ghostnet", precisions=("onnx-int8",), device="local", diff=False).steps == ("export",)
