"""What an export is given and what it assumes, in at most 8 lines."""

from __future__ import annotations

from collections.abc import Iterable

from mobilekit.store.manifest import OPTION, Given


def given_block(model: str, given: Iterable[Given]) -> list[str]:
    """Return a line for the model, and one for each thing that decides what its export means, with what sets it."""
    return [f"{'model':13s} {model}", *(f"{each.what:13s} {_line(each)}" for each in given)]


def _line(each: Given) -> str:
    if each.origin == OPTION:
        return f"{each.value} ({each.option})"
    return f"{each.value} ({each.origin}; set it by {each.option})"
