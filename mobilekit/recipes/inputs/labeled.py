"""Pictures with labels: a folder for each class, or a CSV of files and labels.

- A folder whose pictures are in sub-folders, one for each class, as ImageNet's are. The classes are numbered from 0 in
  the order of the folders' names, or by `classes.txt` beside them: a name a line, in the order of the model's outputs.
- A CSV with a file, relative to itself, and a label a line; a first line `file,label` may say so. Labels are numbers,
  or names where there is a `classes.txt` beside it. A folder with a `labels.csv` in it is read as that.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from mobilekit.errors import UsageError, nearest
from mobilekit.recipes.inputs.preprocess import SUFFIXES, list_pictures

CLASSES = "classes.txt"
TABLE = "labels.csv"
_HEAD = ("file", "label")


@dataclass(frozen=True)
class Pictures:
    """Picture files, and perhaps a label for each."""

    files: list[Path]
    labels: list[int] | None = None
    classes: int | None = None
    """How many classes there are, where labels are the places of the folders' names in their order."""
    names: tuple[str, ...] = ()
    """Of the classes by their numbers, where they are known."""


def find_pictures(path: Path, labels: Sequence[str] = ()) -> Pictures:
    """Return the pictures in a folder, in a tree of class folders, or in a CSV, with their labels where they have any.

    Pictures of class folders take turns, so that any beginning of the list has every class in it.

    Args:
        path: A folder or a CSV.
        labels: Names of all classes in the order of the model's outputs, where no classes.txt beside the pictures has
            them.

    Raises:
        UsageError: There are none, or labels are wrong; the message names the line.
    """
    if path.suffix.lower() == ".csv":
        return _of_table(path, labels)
    if (path / TABLE).is_file():
        return _of_table(path / TABLE, labels)
    if path.is_dir() and not _holds_pictures(path):
        folders = sorted(each for each in path.iterdir() if each.is_dir() and _holds_pictures(each))
        if folders:
            return _of_folders(path, folders, labels)
    return Pictures(list_pictures(path))


def _holds_pictures(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in folder.iterdir())


def _of_folders(root: Path, folders: list[Path], labels: Sequence[str]) -> Pictures:
    names = [folder.name for folder in folders]
    known, where = _classes(root, labels)
    if known is None and all(name.isdecimal() for name in names) and names != sorted(names, key=int):
        raise UsageError(
            f"The class folders in {root} are numbers, and their order by name ({', '.join(names[:3])}, ...) is not "
            "that of the numbers.",
            f"Say which is meant: write their names into {root / CLASSES}, in the order of the model's outputs.",
        )
    numbers = known or {name: place for place, name in enumerate(names)}
    for name in names:
        if name not in numbers:
            raise UsageError(f"{where} has no class {name}, which is a folder there.", nearest(name, numbers))
    columns = [[(file, numbers[folder.name]) for file in list_pictures(folder)] for folder in folders]
    turns = [pair for row in zip_longest(*columns) for pair in row if pair is not None]
    files, labels_of = [file for file, _ in turns], [label for _, label in turns]
    return Pictures(files, labels_of, None if known else len(names), tuple(numbers))


def _classes(folder: Path, labels: Sequence[str]) -> tuple[dict[str, int] | None, str]:
    """Return the number of each class by its name, as classes.txt or else the labels have them, and which it was."""
    path = folder / CLASSES
    names = read_labels(path) if path.is_file() else list(labels)
    known = {name: place for place, name in enumerate(names)}
    return known or None, str(path) if path.is_file() or not labels else "the model's list of labels"


def read_labels(path: Path) -> list[str]:
    """Return the names of all classes, a line each, in the order of the model's outputs.

    Raises:
        UsageError: The file cannot be read, or names none, or one twice.
    """
    names = [line.strip() for line in _text(path).splitlines() if line.strip()]
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice or not names:
        raise UsageError(
            f"{path} {f'names {twice} twice' if twice else 'names no class'}.",
            "It has the name of each class, a line each, in the order of the model's outputs.",
        )
    return names


def _of_table(path: Path, names: Sequence[str]) -> Pictures:
    if not path.is_file():
        raise UsageError(f"There is no file {path}.", "Give a CSV with a file and a label a line.")
    known, where = _classes(path.parent, names)
    files, labels = [], []
    for line, row in enumerate(csv.reader(_text(path).splitlines()), 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or (line == 1 and tuple(cell.lower() for cell in cells) == _HEAD):
            continue
        if len(cells) != 2:
            raise UsageError(
                f"{path}, line {line}: {', '.join(cells)} is not a file and a label.", "A line is `cat.jpg,3`."
            )
        file = path.parent / cells[0]
        if not file.is_file():
            raise UsageError(f"{path}, line {line}: there is no file {file}.", "Files are relative to the CSV.")
        files.append(file)
        labels.append(_label(cells[1], known, where, f"{path}, line {line}"))
    if not files:
        raise UsageError(f"{path} names no picture.", "It has a file and a label a line.")
    return Pictures(files, labels, names=tuple(known or ()))


def _label(word: str, known: dict[str, int] | None, where: str, place: str) -> int:
    if known and word in known:
        return known[word]
    if word.isdecimal():
        return int(word)
    if known:
        raise UsageError(f"{place}: {Path(where).name} has no class {word}.", nearest(word, known))
    raise UsageError(
        f"{place}: the label {word} is not a class number.", f"Number the classes from 0, or name them in {CLASSES}."
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Give a file of text.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} cannot be read as UTF-8 text: {error}.", "Save it as UTF-8.") from error
