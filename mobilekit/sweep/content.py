"""What lies behind the paths of a sweep: digests, so that a cell whose files changed is another cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from mobilekit.models.names import NO_WEIGHTS, PRETRAINED, file_spec
from mobilekit.store.files import sha256_of
from mobilekit.sweep.cell import Cell


def with_content(cells: tuple[Cell, ...], base: Path) -> tuple[Cell, ...]:
    """Return cells with a digest of each file and folder that they name; each of those is read once.

    What a FILE.py imports is not looked at.

    Args:
        cells: Of a sweep.
        base: The folder that their paths go from.

    Raises:
        OSError: A file cannot be read.
        UsageError: A folder has no pictures.
    """
    digest_of = cache(_digest_of)
    return tuple(
        replace(cell, content={name: digest_of(digest, base / path) for name, path, digest in _named(cell)})
        for cell in cells
    )


def _digest_of(digest: Callable[[Path], str], path: Path) -> str:
    return digest(path)


def _named(cell: Cell) -> Iterator[tuple[str, str | Path, Callable[[Path], str]]]:
    """Yield what a cell says of itself by a path, that path, and what makes a digest of what is there."""
    from mobilekit.recipes.inputs.user_data import digest_of_own  # imports numpy

    if code := file_spec(cell.model):
        yield "model", code[0], sha256_of
    if cell.recipe is not None and cell.recipe.endswith((".yaml", ".yml")):
        yield "recipe", cell.recipe, sha256_of
    if cell.weights is not None and Path(cell.weights) not in (NO_WEIGHTS, PRETRAINED):
        yield "weights", cell.weights, sha256_of
    if cell.calibration is not None:
        yield "calibration", cell.calibration, digest_of_own
    if cell.inputs is not None:
        yield "inputs", cell.inputs, digest_of_own
