"""What the text of an option means: sizes, lists, and pictures."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

from mobilekit.errors import OldWordWarning, UsageError


def existing_pictures(path: Path | None) -> Path | None:
    """Return the path of pictures as it is.

    Raises:
        UsageError: There is nothing.
    """
    if path is not None and not path.exists():
        kind = "file" if path.suffix in (".npz", ".csv") else "folder"
        raise UsageError(f"There is no {kind} {path}.", "Give a folder of images, or an .npz by input names.")
    return path


def split_inputs(given: str | None, count: int | None) -> tuple[Path | None, int | None]:
    """Return pictures and a count; an integer in place of the pictures is the count, as it was up to 0.1.

    Raises:
        UsageError: There are no such pictures.

    Warns:
        OldWordWarning: The count is given by its old name.
    """
    if given is None or not given.isdecimal() or Path(given).exists():
        return existing_pictures(None if given is None else Path(given)), count
    text = f"`--inputs {given}` is `--count {given}` now; write that, as the next version takes pictures alone there."
    warnings.warn(text, OldWordWarning, stacklevel=2)
    return None, _positive(int(given)) if count is None else count


def _positive(count: int) -> int:
    if count < 1:
        raise UsageError(f"--inputs {count} counts nothing.", "Give --count 1 or more.")
    return count


def split_size(text: str | None) -> int | tuple[int, int] | None:
    """Return height and width, one number where they are the same; None where they are not given.

    Raises:
        UsageError: It is no size.
    """
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and 8 <= int(side) <= 4096 for side in sides):
        raise UsageError(
            f"--input-size {text} is no size.",
            "Give one number for height and width, or HEIGHTxWIDTH such as 256x192; each is 8 to 4096.",
        )
    height, width = int(sides[0]), int(sides[-1])
    return height if height == width else (height, width)


def split_frame(text: str | None) -> tuple[int, int] | None:
    """Return height and width of a frame; None where it is not given.

    Raises:
        UsageError: It is no size of a frame.
    """
    if text is None:
        return None
    found = re.fullmatch(r"frame:(\d+)x(\d+)", text.lower())
    if not found or not all(8 <= int(side) <= 4096 for side in found.groups()):
        raise UsageError(
            f"--input-from {text} is no frame.", "Write frame:HEIGHTxWIDTH, such as frame:480x640; each is 8 to 4096."
        )
    return int(found[1]), int(found[2])


def split_numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    """Return the numbers of a list that is separated by commas; None where it is not given.

    Raises:
        UsageError: A word is no number.
    """
    if text is None:
        return None
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"{option} {text} is no list of numbers.", f"Separate them by commas: {option} 0.5,0.5,0.5"
        ) from error


def split_words(text: str | None) -> list[str] | None:
    """Return the words of a list that is separated by commas; None where it is not given."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]
