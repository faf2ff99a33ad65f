"""Inputs that the user brings: pictures in folders or in a CSV, or arrays in an .npz file."""

from __future__ import annotations

import tokenize
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from mobilekit.errors import UsageError, first_line
from mobilekit.recipes.inputs.extra import with_extras
from mobilekit.recipes.inputs.labeled import find_pictures
from mobilekit.recipes.inputs.preprocess import Array, Arrays, cut_by_shape, load_pictures
from mobilekit.recipes.schema import Recipe
from mobilekit.store.bundle import INPUT
from mobilekit.store.files import sha256_of, sha256_of_json

LABELS = "labels"
Labels = NDArray[np.int64]
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    BadZipFile,
    zlib.error,
    RuntimeError,  # encrypted, or compressed in a way that Python has not
    MemoryError,  # these two come of a damaged header
    tokenize.TokenError,
)
"""What a file that is no .npz, or a damaged one, raises."""
_SAVEZ = "`numpy.savez` writes one: an array of numbers for each input by its name, and perhaps `labels`."
_LABELED = "`labels` has a whole number for each input, its class from 0 on."


@dataclass(frozen=True)
class Own:
    """Inputs that the user brought."""

    arrays: Arrays
    """float32 (N, ...) by name."""
    labels: Labels | None = None
    """Class numbers (N,)."""
    classes: int | None = None
    """How many classes there are, where labels are the places of folders in their order."""
    notes: tuple[str, ...] = ()
    """What is doubtful about them."""
    label_names: tuple[str, ...] = ()
    """Of the classes by their numbers, where they are known."""
    files: tuple[Path, ...] = ()
    """The picture of each input; none of an .npz."""


def own_files(path: Path) -> list[Path]:
    """Return the files that hold the inputs: the .npz itself, or the pictures.

    Raises:
        UsageError: There is no such file, folder or picture.
    """
    if path.suffix != ".npz":
        return find_pictures(path).files
    if not path.is_file():
        raise UsageError(f"There is no file {path}.", _SAVEZ)
    return [path]


def digest_of_own(path: Path) -> str:
    """Return a digest of the files that hold inputs and of their labels.

    Raises:
        UsageError: There is no such file, folder or picture.
    """
    if path.suffix == ".npz":
        return sha256_of_json([sha256_of(each) for each in own_files(path)])
    found = find_pictures(path)
    return sha256_of_json([[sha256_of(each) for each in found.files], found.labels, found.classes])


def load_own(path: Path, recipe: Recipe, count: int | None = None) -> Own:
    """Read pictures, with seeded extra inputs, or all inputs in an .npz.

    Args:
        path: A folder of pictures, or of a folder for each class; a CSV of files and labels; or an .npz.
        recipe: Describes the inputs.
        count: How many to take, the first; all without.

    Raises:
        UsageError: They cannot be read, or do not fit.
    """
    if path.suffix == ".npz":
        arrays, labels = load_npz(path, recipe)
        return Own({name: array[:count] for name, array in arrays.items()}, None if labels is None else labels[:count])
    found = find_pictures(path, recipe.labels)
    files = tuple(found.files[:count])
    pictures, sizes = load_pictures(files, recipe.input)
    labels = None if found.labels is None else np.array(found.labels[:count], np.int64)
    note = cut_by_shape(sizes, recipe.input, path)
    return Own(with_extras(pictures, recipe), labels, found.classes, (note,) if note else (), found.names, files)


def load_npz(path: Path, recipe: Recipe) -> tuple[Arrays, Labels | None]:
    """Read preprocessed inputs by their names, and perhaps `labels`.

    The one input of a model may have any name: it is the first array.

    Returns:
        float32 (N, ...) by name, and class numbers (N,) or None.

    Raises:
        UsageError: The file is no .npz, lacks an input that fits, or has labels that do not belong to it.
    """
    content = _read(path)
    if len(recipe.shapes) == 1 and content and INPUT not in content:
        content[INPUT] = next(iter(content.values()))
    arrays = {name: _input(path, content, name, recipe.shapes) for name in recipe.shapes}
    for name in recipe.pixels:
        _check_bytes(path, name, arrays[name])
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise UsageError(f"{path} holds different numbers of inputs: {told}.", _SAVEZ)
    return arrays, _labels(path, content, counts[INPUT])


def read_arrays(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    """Read inputs of these shapes by name from an .npz, for a model without a recipe.

    Returns:
        float32 (N, ...) by name.

    Raises:
        UsageError: The file is no .npz, or lacks an input that fits.
    """
    if path.suffix != ".npz":
        raise UsageError(
            f"{path} is no .npz, and for an ONNX reference nothing says how pictures become inputs.",
            f"Give an .npz with the arrays {', '.join(shapes)}.",
        )
    if not path.is_file():
        raise UsageError(f"There is no file {path}.", _SAVEZ)
    content = _read(path)
    if len(shapes) == 1 and content:
        content.setdefault(next(iter(shapes)), next(iter(content.values())))
    arrays = {name: _input(path, content, name, shapes) for name in shapes}
    if len({len(array) for array in arrays.values()}) > 1:
        raise UsageError(f"{path} holds different numbers of inputs.", _SAVEZ)
    return arrays


def _read(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        content = np.load(path, allow_pickle=False)
        if not isinstance(content, NpzFile):
            raise ValueError("it holds a bare array")
        with content:
            arrays = dict(content)
        if others := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"{others[0]} in it is no array")
        return arrays
    except _UNREADABLE as error:
        raise UsageError(f"{path} is not an .npz file that can be read: {first_line(error)}.", _SAVEZ) from error


def _input(
    path: Path, content: dict[str, NDArray[np.generic]], name: str, shapes: Mapping[str, tuple[int, ...]]
) -> Array:
    """Check one input and return it as float32."""
    shape = shapes[name]
    array = content.get(name)
    if array is None or array.shape[1:] != shape[1:] or not array.size:
        several = len(shapes) > 1
        wanted = " x ".join(map(str, ("N", *shape[1:])))
        got = "nothing" if array is None else f"an array of {' x '.join(map(str, array.shape)) or 'no axes'}"
        named = f" by the name {name}" if several else ""
        others = [word for word in content if word != LABELS]
        held = f" The file has {', '.join(others) or 'no arrays'}." if several else ""
        layout = ", in NCHW" if len(shape) == 4 else ""
        raise UsageError(
            f"{path} holds {got}{named}, and the model takes {wanted}.", f"Name the array `{name}`{layout}.{held}"
        )
    if array.dtype.kind not in "fiub":
        raise UsageError(f"{path} holds values of type {array.dtype}, not numbers.", _SAVEZ)
    with np.errstate(over="ignore"):  # what float32 cannot hold is not finite
        values = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(values).all():
        raise UsageError(
            f"{path} has values that are not finite.", "Leave these inputs out, or look at what writes them."
        )
    return values


def _check_bytes(path: Path, name: str, array: Array) -> None:
    if array.min() < 0 or array.max() > 255 or (array != np.round(array)).any():
        raise UsageError(
            f"{path} holds values of {array.min():g} to {array.max():g} as {name}, and the model takes bytes.",
            "Give the picture's bytes, whole numbers of 0 to 255: they are normalized inside.",
        )


def _labels(path: Path, content: dict[str, NDArray[np.generic]], count: int) -> Labels | None:
    labels = content.get(LABELS)
    if labels is None:
        return None
    if labels.dtype.kind not in "iu":
        raise UsageError(f"{path} has labels of type {labels.dtype}, not class numbers.", _LABELED)
    if labels.shape != (count,):
        raise UsageError(f"{path} has {count} inputs and labels of shape {labels.shape}.", _LABELED)
    return labels.astype(np.int64)
